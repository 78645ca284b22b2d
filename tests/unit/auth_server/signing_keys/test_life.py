from dataclasses import replace

import pytest

from auth_server.signing_keys.life import (
    RETIRED_SECONDS,
    KeyTimes,
    State,
    is_published,
    leaves_at,
    signers,
    state,
    superseded_at,
)
from auth_server.signing_keys.plan import Rules, as_planned, changes_due

FIRST = KeyTimes("first", "RS256", 1, 0, 0, 0, None, 315)
SECOND = KeyTimes("second", "RS256", 2, 0, 315, 1000, None, 315)
SPARE = KeyTimes("spare", "RS256", 3, 1000, 1315, None, None, 315)
KEYS = [FIRST, SECOND, SPARE]
GONE_FROM = 1000 + RETIRED_SECONDS
RULES = Rules(("RS256",), 315, active_seconds=5000)


@pytest.mark.parametrize(
    ("now", "states"),
    [
        (999, ("active", "pending", "pending")),
        (1000, ("retired", "active", "pending")),
        (GONE_FROM - 1, ("retired", "active", "pending")),
        (GONE_FROM, ("gone", "active", "pending")),
    ],
)
def test_a_key_goes_through_its_states_by_its_stored_times(
    now: int, states: tuple[State, ...]
) -> None:
    assert tuple(state(key, KEYS, now) for key in KEYS) == states


@pytest.mark.parametrize(
    ("now", "published"),
    [(0, KEYS), (GONE_FROM - 1, KEYS), (GONE_FROM, [SECOND, SPARE])],
    ids=["at first", "before it goes", "when it goes"],
)
def test_pending_active_and_retired_keys_are_published(now: int, published: list[KeyTimes]) -> None:
    assert [key for key in KEYS if is_published(key, KEYS, now)] == published


def test_a_retired_key_is_published_for_longer_than_the_longest_token_lives() -> None:
    assert RETIRED_SECONDS > 3600


def test_a_revoked_key_is_published_no_more() -> None:
    revoked = replace(SECOND, revoked_at=1500)
    assert (state(revoked, [FIRST, revoked], 1500), leaves_at(revoked, [FIRST, revoked])) == (
        "revoked",
        1500,
    )


def test_what_a_revoked_key_had_retired_stays_retired() -> None:
    revoked = replace(SECOND, revoked_at=1500)
    assert superseded_at(FIRST, [FIRST, revoked]) == 1000


def test_keys_of_two_algorithms_do_not_supersede_each_other() -> None:
    other = replace(SECOND, algorithm="ES256")
    assert superseded_at(FIRST, [FIRST, other]) is None


def test_of_two_keys_that_begin_in_the_same_second_the_later_one_signs() -> None:
    twin = replace(SPARE, active_from=1000)
    assert signers([FIRST, SECOND, twin], "RS256", 1000)[0] == twin


def test_nothing_is_due_while_a_key_is_active_and_another_waits() -> None:
    assert not changes_due(KEYS, RULES, 5999)


def test_the_next_key_is_due_after_the_days_of_the_active_one() -> None:
    due = changes_due(KEYS, RULES, 6000)
    assert (due.activate, [new.active_from for new in due.make]) == ((("spare", 6000),), [None])


def test_a_key_that_is_not_known_everywhere_waits_though_it_is_due() -> None:
    late = replace(SPARE, known_from=9000)
    assert changes_due([FIRST, SECOND, late], RULES, 6000).activate == (("spare", 9000),)


def test_a_rotation_to_come_is_planned_from_the_settings() -> None:
    planned = as_planned(KEYS, RULES)
    assert [key.active_from for key in planned] == [0, 1000, 6000]


def test_nothing_is_made_for_an_algorithm_that_is_no_longer_wanted() -> None:
    keys = [replace(key, algorithm="ES256", kid=f"es-{key.kid}") for key in KEYS]
    due = changes_due([*keys, *KEYS], RULES, 6000)
    assert ({new.algorithm for new in due.make}, due.activate) == ({"RS256"}, (("spare", 6000),))
