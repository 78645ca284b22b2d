import math
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_service.bank_answers import BankError
from client_service.retries import FIRST_PAUSE_SECONDS, MOST_TRIES, Retries
from client_service.task import StoppedError, pause_unless_stopped
from client_service.token_messages import AccessToken, TokenError

TOKEN = AccessToken("t", 1, 2)
BUSY = TokenError("invalid_answer", "busy", 503)


class Sleeper:
    """A clock that only sleeping moves; remembers the pauses and the longest there could be."""

    def __init__(self, share_of_the_longest: float = 1.0) -> None:
        self.time = 1000.0
        self.share = share_of_the_longest
        self.pauses: list[float] = []
        self.longest: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds

    def uniform(self, low: float, high: float) -> float:
        self.longest.append(high)
        return low + self.share * (high - low)

    def retries(self, seconds: float) -> Retries:
        return Retries(seconds, self.now, self.sleep, self.uniform)


def failing(*errors: TokenError) -> Callable[[], AccessToken]:
    """Return what raises ``errors`` one after the other and then has a token."""
    left = list(errors)

    def ask() -> AccessToken:
        if left:
            raise left.pop(0)
        return TOKEN

    return ask


def failure(ask: Callable[[], AccessToken], retries: Retries) -> TokenError:
    with pytest.raises(TokenError) as caught:
        retries.until_answered(ask)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        TokenError("no_answer", "cut"),
        TokenError("temporarily_unavailable", "", 503),
        TokenError("invalid_answer", "", 500),
        TokenError("slow_down", "", 429),
    ],
    ids=["no answer", "503", "500", "429"],
)
def test_what_may_pass_is_tried_again(error: TokenError) -> None:
    sleeper = Sleeper()

    assert sleeper.retries(10).until_answered(failing(error)) is TOKEN
    assert len(sleeper.pauses) == 1


@pytest.mark.parametrize(
    "error",
    [
        TokenError("invalid_answer", "", status)
        for status in (400, 401, 403, 404, 408, 425, 302, 501, 505)
    ]
    + [TokenError("invalid_answer", "", 200), TokenError("no_credentials", "sealed")],
    ids=lambda error: str(error.status or error.code),
)
def test_what_a_repetition_would_not_change_is_not_tried_again(error: TokenError) -> None:
    sleeper = Sleeper()

    assert failure(failing(error), sleeper.retries(10)) is error
    assert sleeper.pauses == []


def test_the_longest_pause_doubles_each_time() -> None:
    sleeper = Sleeper()

    sleeper.retries(100).until_answered(failing(*[BUSY] * (MOST_TRIES - 1)))

    assert sleeper.longest == [FIRST_PAUSE_SECONDS * factor for factor in (1, 2, 4, 8, 16)]


def test_a_pause_may_have_any_length_below_the_longest() -> None:
    sleeper = Sleeper(share_of_the_longest=0.25)

    sleeper.retries(100).until_answered(failing(BUSY, BUSY))

    assert sleeper.pauses == [0.25 * FIRST_PAUSE_SECONDS, 0.5 * FIRST_PAUSE_SECONDS]


def test_a_server_that_wants_to_be_left_alone_is() -> None:
    sleeper = Sleeper()
    busy = TokenError("slow_down", "", 429, retry_after=7)

    sleeper.retries(10).until_answered(failing(busy))

    assert sleeper.pauses == [7]


def test_no_pause_is_made_that_leads_past_the_end() -> None:
    sleeper = Sleeper()
    busy = TokenError("slow_down", "", 429, retry_after=10.1)

    assert failure(failing(busy), sleeper.retries(10)) is busy
    assert sleeper.pauses == []


def test_without_time_there_is_one_try() -> None:
    assert failure(failing(BUSY), Sleeper().retries(0)) is BUSY


def test_without_pauses_the_tries_are_bounded_all_the_same() -> None:
    errors = [TokenError("no_answer", str(number)) for number in range(10)]

    last = failure(failing(*errors), Sleeper(share_of_the_longest=0).retries(10))

    assert last is errors[MOST_TRIES - 1]


def test_a_failure_of_another_kind_is_not_tried_again() -> None:
    sleeper = Sleeper()
    of_the_bank = replace(sleeper.retries(10), failure=BankError)

    assert failure(failing(BUSY), of_the_bank) is BUSY
    assert sleeper.pauses == []


def test_each_repetition_is_a_line_of_the_log_without_the_servers_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    busy = TokenError("slow_down", "because of ccs_secret", 429, retry_after=2)

    Sleeper().retries(10).until_answered(failing(busy, TokenError("no_answer", "cut")))

    assert [record.getMessage() for record in caplog.records] == [
        "429 slow_down: try 2 comes after 2.0 s",
        "no_answer: try 3 comes after 1.0 s",
    ]


def test_a_pause_that_raises_ends_the_tries() -> None:
    stopping = Event()
    stopping.set()

    with pytest.raises(StoppedError):
        Retries(10, sleep=pause_unless_stopped(stopping)).until_answered(failing(BUSY))


def test_a_pause_that_nobody_stops_is_made() -> None:
    retries = Retries(10, sleep=pause_unless_stopped(Event()), uniform=lambda low, _high: low)

    assert retries.until_answered(failing(BUSY)) is TOKEN


ERRORS = st.builds(
    TokenError,
    st.sampled_from(["no_answer", "invalid_answer"]),
    st.just("x"),
    st.none() | st.sampled_from([429, 500, 503, 400, 401]),
    st.floats(0, 20) | st.just(math.inf),
)


@given(st.lists(ERRORS, max_size=10), st.floats(0, 30), st.floats(0, 1))
def test_tries_and_time_are_bounded_whatever_fails(
    errors: list[TokenError], seconds: float, share: float
) -> None:
    sleeper = Sleeper(share)
    asked_at: list[float] = []
    ask = failing(*errors)

    def asked() -> AccessToken:
        asked_at.append(sleeper.time)
        return ask()

    with suppress(TokenError):
        sleeper.retries(seconds).until_answered(asked)

    assert len(asked_at) <= MOST_TRIES
    assert asked_at[-1] <= 1000 + seconds
    assert [
        pause
        for pause, error in zip(sleeper.pauses, errors, strict=False)
        if pause < error.retry_after
    ] == []


def test_a_program_that_seeds_its_random_numbers_neither_sets_the_pauses_nor_is_disturbed() -> None:
    pauses = []
    for _ in range(2):
        sleeper = Sleeper()
        random.seed(1)
        seeded = random.getstate()
        Retries(10, sleeper.now, sleeper.sleep).until_answered(failing(BUSY, BUSY))
        assert random.getstate() == seeded
        pauses.append(sleeper.pauses)

    assert pauses[0] != pauses[1]
