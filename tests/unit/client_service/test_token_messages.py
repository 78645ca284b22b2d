import json
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from client_service.token_messages import (
    LONGEST_ANSWER_BYTES,
    LONGEST_LIFETIME_SECONDS,
    AccessToken,
    TokenError,
    json_object,
    read_bounded,
    seconds_to_wait,
    token_in,
    token_request,
)
from tests.stack.loopback import LoopbackServer, Reply

GOOD = {"access_token": "abc", "token_type": "Bearer", "expires_in": 300}


def judged(status: Any = 200, **changes: object) -> AccessToken:
    members = {name: value for name, value in {**GOOD, **changes}.items() if value != "ABSENT"}
    return token_in(status, json.dumps(members).encode(), 1000, 0.5, 60)


def test_a_good_answer_yields_the_token_and_its_times() -> None:
    assert judged() == AccessToken("abc", 1150, 1300)


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER"])
def test_the_token_type_is_compared_without_regard_to_case(token_type: str) -> None:
    assert judged(token_type=token_type).value == "abc"


@pytest.mark.parametrize(
    "changes",
    [
        {"token_type": "ABSENT"},
        {"token_type": "DPoP"},
        {"token_type": 1},
        {"access_token": "ABSENT"},
        {"access_token": ""},
        {"access_token": 5},
        {"access_token": "a\r\nX-Header: b"},
        {"expires_in": 0},
        {"expires_in": -1},
        {"expires_in": None},
        {"expires_in": True},
        {"expires_in": float("nan")},
        {"expires_in": "soon"},
        {"expires_in": []},
        {"expires_in": 10**400},
    ],
    ids=lambda changes: " ".join(f"{name}={str(value)[:12]!r}" for name, value in changes.items()),
)
def test_an_answer_that_is_not_a_bearer_token_with_a_life_is_refused(
    changes: dict[str, object],
) -> None:
    with pytest.raises(TokenError) as caught:
        judged(**changes)

    assert (caught.value.status, caught.value.code) == (200, "invalid_answer")


@pytest.mark.parametrize(
    ("expires_in", "life"),
    [
        ("ABSENT", 60),
        ("3600", 3600),
        (1.5, 1.5),
        (10**9, LONGEST_LIFETIME_SECONDS),
        (float("inf"), LONGEST_LIFETIME_SECONDS),
    ],
    ids=["absent", "text", "fraction", "far too long", "endless"],
)
def test_the_life_is_what_the_answer_says_within_reason(expires_in: object, life: float) -> None:
    assert judged(expires_in=expires_in).ends_at == 1000 + life


def test_an_oauth_error_keeps_its_code_status_and_description() -> None:
    with pytest.raises(TokenError) as caught:
        judged(400, error="invalid_scope", error_description="not yours")

    assert (caught.value.status, caught.value.code) == (400, "invalid_scope")
    assert str(caught.value) == "400 invalid_scope: not yours"


@pytest.mark.parametrize("error", ["ABSENT", 5, 'with "quotes"', "x" * 101], ids=str)
def test_an_error_without_a_code_of_the_rfc_is_an_invalid_answer(error: object) -> None:
    with pytest.raises(TokenError) as caught:
        judged(500, error=error)

    assert (caught.value.status, caught.value.code) == (500, "invalid_answer")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b"\xff", b"[" * 100_000], ids=lambda body: repr(body[:6])
)
def test_what_is_no_json_object_reads_as_an_empty_one(body: bytes) -> None:
    assert json_object(body) == {}


def test_no_more_of_an_answer_is_read_than_the_limit(
    server: LoopbackServer, session: requests.Session
) -> None:
    server.reply("/long", Reply(body=b"x" * (LONGEST_ANSWER_BYTES + 5)))

    with session.get(server.url + "/long", stream=True, timeout=10) as response:
        assert len(read_bounded(response)) == LONGEST_ANSWER_BYTES


WALL_TIME = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 120 ", 120),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tue Nov 14 22:14:20 2023", 60),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0),
        ("9" * 5000, 999_999_999_999),
        ("-5", 0),
        ("1.5", 0),
        ("٣", 0),
        ("soon", 0),
        ("", 0),
    ],
    ids=[
        "seconds",
        "spaces",
        "date",
        "old-date",
        "past",
        "huge",
        "negative",
        "fraction",
        "other-digits",
        "no-date",
        "empty",
    ],
)
def test_a_wait_is_asked_for_in_seconds_or_as_a_date(value: str, seconds: float) -> None:
    assert seconds_to_wait({"Retry-After": value}, WALL_TIME) == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ \w+ \d+ \d+:\d+:\d+ .{0,6}", fullmatch=True))
def test_a_wait_is_a_number_of_seconds_whatever_is_asked_for(value: str) -> None:
    assert seconds_to_wait({"Retry-After": value}, WALL_TIME) >= 0


def test_an_error_keeps_the_wait_that_was_asked_for() -> None:
    with pytest.raises(TokenError) as caught:
        token_in(429, b"", 1000, 0.5, 60, retry_after=9)

    assert (caught.value.retry_after, caught.value.is_temporary) == (9, True)


def test_a_request_has_no_empty_parameter_and_no_other_grant() -> None:
    form = token_request("", None, {"audience": "https://api", "grant_type": "password"})

    assert form == {"grant_type": "client_credentials", "audience": "https://api"}
