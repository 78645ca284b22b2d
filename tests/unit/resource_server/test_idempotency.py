import re
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from resource_server.app import OPENAPI
from resource_server.idempotency import (
    FORGOTTEN_AT_A_TIME,
    Answer,
    KeyClaim,
    KeyInUseError,
    KeyReusedError,
    MalformedKeyError,
    claim_key,
    forget_old_answers,
    idempotency_key,
)
from resource_server.models import RememberedAnswer
from shared.database import Database

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PAID = Answer(201, {"z": 1, "a": "ä", "m": [None, True]})


def claim_of(
    session: Session,
    now: datetime = NOON,
    client_id: str = "a-client",
    key: str = "k",
    request_digest: str = "r",
) -> KeyClaim:
    return claim_key(
        session,
        client_id=client_id,
        key=key,
        request_digest=request_digest,
        now=now,
        ends_at=now + HOUR,
    )


def claim_and_fail(database: Database) -> None:
    with database.writing() as session:
        claim_of(session)
        raise ZeroDivisionError


def claimed(
    database: Database,
    *,
    client_id: str = "a-client",
    key: str = "k",
    request_digest: str = "r",
    now: datetime = NOON,
) -> Answer | None:
    """Claim the key and remember `PAID`; return what was answered before."""
    with database.writing() as session:
        claim = claim_of(session, now, client_id, key, request_digest)
        if claim.earlier is None:
            claim.remember(PAID)
        return claim.earlier


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('"a b, c;d"', "a b, c;d"),
        (r'"a\"b\\c"', r'a"b\c'),
        (" \tbare\t ", "bare"),
        ("reconcile:2026-03-01T12:00:00+00:00", "reconcile:2026-03-01T12:00:00+00:00"),
        ("x" * 255, "x" * 255),
        (f'"{"x" * 255}"', "x" * 255),
    ],
)
def test_a_key_is_a_string_in_quotes_or_a_bare_word(header: str, key: str) -> None:
    assert idempotency_key(header) == key


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        '""',
        '"',
        '"a',
        'a"',
        '"a"b"',
        r'"a\"',
        r'"a\b"',
        '"a", "b"',
        "a,b",
        "a b",
        "a;b",
        '"a";b=1',
        "schlüssel",
        '"\x7f"',
        "a\0",
        "x" * 256,
        f'"{"x" * 256}"',
    ],
    ids=ascii,
)
def test_what_is_no_key_is_refused(header: str | None) -> None:
    with pytest.raises(MalformedKeyError):
        idempotency_key(header)


DESCRIBED = yaml.safe_load(OPENAPI.read_text())["paths"]["/payments"]["post"]["parameters"][0]
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=6)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(key=VISIBLE | VISIBLE.map('"{}"'.format))
@example(key='"a b"')
@example(key=r'"a\"b"')
@example(key="x" * 255)
@example(key="x" * 256)
def test_a_key_is_what_the_document_says_it_is(key: str) -> None:
    described = re.fullmatch(DESCRIBED["schema"]["pattern"], key) is not None

    assert is_key(key) == described


def is_key(header: str) -> bool:
    try:
        idempotency_key(header)
    except MalformedKeyError:
        return False
    return True


def test_what_was_answered_under_a_key_is_answered_again_as_it_was(book: Database) -> None:
    first, second = claimed(book), claimed(book, now=NOON + HOUR / 2)

    assert (first, second) == (None, PAID)
    assert second is not None
    assert list(second.fields) == ["z", "a", "m"]


def test_a_key_with_another_request_is_refused(book: Database) -> None:
    claimed(book)

    with pytest.raises(KeyReusedError):
        claimed(book, request_digest="another")


@pytest.mark.parametrize(
    "other",
    [{"client_id": "b-client"}, {"key": "l"}, {"client_id": "a-clientk", "key": ""}],
    ids=["client", "key", "boundary"],
)
def test_another_clients_key_and_another_key_are_others(
    other: dict[str, str], book: Database
) -> None:
    claimed(book)

    assert claimed(book, **other) is None  # type: ignore[arg-type]


def test_a_clients_id_may_have_any_length(book: Database) -> None:
    long = "ü" * 3000

    assert [claimed(book, client_id=long) for _ in range(2)] == [None, PAID]


def test_at_its_end_a_key_is_a_new_one_also_for_another_request(book: Database) -> None:
    claimed(book)
    again = claimed(book, request_digest="another", now=NOON + HOUR)
    then = claimed(book, request_digest="another", now=NOON + HOUR * 1.5)

    assert (again, then) == (None, PAID)


def test_a_claim_whose_transaction_fails_leaves_nothing(book: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        claim_and_fail(book)

    assert claimed(book) is None


def test_answers_are_forgotten_a_few_at_a_time_and_none_before_its_end(
    book: Database,
) -> None:
    def left_after(now: datetime) -> int | None:
        with book.writing() as session:
            forget_old_answers(session, now)
            return session.scalar(select(func.count()).select_from(RememberedAnswer))

    for number in range(FORGOTTEN_AT_A_TIME + 2):
        claimed(book, key=f"k{number}")
    claimed(book, key="late", now=NOON + HOUR)

    assert left_after(NOON + HOUR - timedelta(seconds=1)) == FORGOTTEN_AT_A_TIME + 3
    assert [left_after(NOON + HOUR) for _ in range(3)] == [3, 1, 1]


def test_on_postgresql_who_forgets_waits_for_nobody(postgresql_book: Database) -> None:
    claimed(postgresql_book)
    with postgresql_book.writing() as first, postgresql_book.writing() as second:
        forget_old_answers(first, NOON + HOUR)
        second.execute(text("SET LOCAL lock_timeout = '100ms'"))
        forget_old_answers(second, NOON + HOUR)
        left = second.scalar(select(func.count()).select_from(RememberedAnswer))

    assert left == 1


def test_on_postgresql_a_key_that_is_worked_on_for_too_long_is_in_use(
    postgresql_book: Database,
) -> None:
    with postgresql_book.writing() as first, postgresql_book.writing() as second:
        claim_of(first).remember(PAID)
        first.flush()
        second.execute(text("SET LOCAL lock_timeout = '100ms'"))
        with pytest.raises(KeyInUseError):
            claim_of(second)
        second.rollback()

    assert claimed(postgresql_book) == PAID


def test_who_comes_second_waits_for_the_answer_of_the_first(book: Database) -> None:
    with ThreadPoolExecutor(max_workers=1) as pool, book.writing() as first:
        claim = claim_of(first)
        second = pool.submit(claimed, book)
        wait([second], timeout=0.5)
        came_early = second.done()
        claim.remember(PAID)
        first.commit()
        answer = second.result(timeout=30)

    assert (came_early, answer) == (False, PAID)
