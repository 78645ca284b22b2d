"""RFC 7662 at the resource server: how it asks about a token, and what it makes of the answer."""

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.bank_requests import (
    INSUFFICIENT_SCOPE,
    INVALID_TOKEN,
    read_with,
    verdict,
    verdict_on,
)
from tests.conformance.local_servers import IntrospectingBank, introspecting_bank
from tests.stack.loopback import Asked, Reply


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IntrospectingBank]:
    """Our bank, set to ask; another one's introspection is not seen from outside."""
    with introspecting_bank(tmp_path_factory.mktemp("asking bank")) as bank:
        yield bank


@pytest.fixture
def asking(running: IntrospectingBank) -> IntrospectingBank:
    """The bank, whose issuer calls every token active until a test says otherwise."""
    running.server.asked.clear()
    running.answer(active())
    return running


def active(**changes: Any) -> Reply:
    return Reply(document={"active": True, "client_id": "c", "scope": "Read", **changes})


def question(bank: IntrospectingBank, token: str) -> Asked:
    """Return what the bank asks when somebody brings ``token``."""
    read_with(bank.under_test, token)
    [asked] = bank.asked
    return asked


def test_rfc7662_2_1_the_token_is_sent_in_a_form_by_post(asking: IntrospectingBank) -> None:
    asked = question(asking, "mF_9.B5f-4.1JqM~+/==")

    assert asked.method == "POST"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.form["token"] == "mF_9.B5f-4.1JqM~+/=="


def test_rfc7662_2_1_no_token_stands_in_the_url(asking: IntrospectingBank) -> None:
    assert question(asking, "mF_9.B5f-4.1JqM").query == {}


def test_rfc7662_2_1_a_hint_is_one_of_those_that_are_defined(asking: IntrospectingBank) -> None:
    assert question(asking, "t").form.get("token_type_hint") in {None, "access_token"}


def test_rfc7662_2_1_the_resource_server_authenticates(asking: IntrospectingBank) -> None:
    scheme, _, pair = question(asking, "t").headers["authorization"].partition(" ")

    assert scheme == "Basic"
    assert base64.b64decode(pair) == b"bank%3A1:sec%3Aret%25+%2B"  # RFC 6749 §2.3.1


def test_rfc7662_2_1_json_is_asked_for(asking: IntrospectingBank) -> None:
    assert question(asking, "t").headers["accept"] == "application/json"


def test_rfc7662_2_2_an_active_token_opens_the_resource(asking: IntrospectingBank) -> None:
    assert read_with(asking.under_test, "opaque").status == 200


@pytest.mark.parametrize("document", [{"active": False}, {}, {"active": "true"}], ids=str)
def test_rfc7662_2_2_a_token_that_is_not_active_is_invalid_token(
    asking: IntrospectingBank, document: dict[str, Any]
) -> None:
    asking.answer(Reply(document=document))

    assert verdict_on(asking.under_test, "opaque") == INVALID_TOKEN


def test_rfc7662_2_2_members_that_are_unknown_are_ignored(asking: IntrospectingBank) -> None:
    asking.answer(active(username="x", extension={"a": [1]}))

    assert read_with(asking.under_test, "opaque").status == 200


def test_rfc7662_2_2_the_scope_that_is_said_counts(asking: IntrospectingBank) -> None:
    asking.answer(active(scope="Write"))

    assert verdict_on(asking.under_test, "opaque") == INSUFFICIENT_SCOPE


@pytest.mark.parametrize(
    "said",
    [{"exp": 1_000_000_000}, {"nbf": 4_000_000_000}, {"aud": "other"}, {"iss": "https://other"}],
    ids=["expired", "not yet valid", "of another audience", "of another issuer"],
)
def test_rfc7662_2_2_what_is_said_is_judged_though_the_token_is_called_active(
    asking: IntrospectingBank, said: dict[str, Any]
) -> None:
    asking.answer(active(**said))

    assert verdict_on(asking.under_test, "opaque") == INVALID_TOKEN


def test_rfc7662_4_a_token_that_was_revoked_is_refused_at_once(asking: IntrospectingBank) -> None:
    asking.answer(active(exp=int(time.time()) + 300))
    before = verdict_on(asking.under_test, "opaque")
    asking.answer(Reply(document={"active": False}))

    assert (before, verdict_on(asking.under_test, "opaque")) == ((200, None), INVALID_TOKEN)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(401, {"error": "invalid_client"}), id="its credentials are refused"),
        pytest.param(Reply(403), id="it may not ask"),
        pytest.param(Reply(500), id="error"),
        pytest.param(Reply(body=b"<html>"), id="no JSON"),
        pytest.param(Reply(302, headers={"Location": "/"}), id="redirect"),
    ],
)
def test_rfc7662_2_3_what_goes_wrong_between_the_servers_is_no_fault_of_the_token(
    asking: IntrospectingBank, reply: Reply
) -> None:
    asking.answer(reply)
    answer = read_with(asking.under_test, "opaque")

    assert verdict(answer) == (503, None)
    assert int(answer.header("Retry-After") or 0) >= 1
