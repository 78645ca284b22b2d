import logging
import os
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from auth_server.audit import LONGEST_SAID, actor, note, noted, said
from shared.service_logging import RedactingJsonFormatter
from tests.unit.auth_server.running import BANK, Running

Ask = Callable[[Running], object]


@pytest.fixture
def audited(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """Return the events of the audit trail so far."""
    caplog.set_level(logging.INFO)
    return lambda: [r.__dict__["event"] for r in caplog.records if r.name == "audit"]


Audited = Callable[[], list[dict[str, Any]]]


def test_an_issued_token_is_known_by_its_jti_its_key_and_what_it_is_for(
    server: Running, audited: Audited
) -> None:
    answer = server.ask(("scope", "openid Read")).get_json()
    (event,) = audited()
    assert len(event.pop("jti")) == 22
    assert event == {
        "action": "token",
        "outcome": "issued",
        "address": "127.0.0.1",
        "status": 200,
        "client_id": "worker",
        "scope": answer["scope"],
        "audience": BANK,
        "kid": server.parts.keys.published()[0]["kid"],
    }


def failing(server: Running) -> object:
    def fail() -> None:
        raise OperationalError("SELECT", {}, Exception())

    server.app.before_request(fail)
    return server.ask()


ENDINGS: list[tuple[str, Ask, str, str]] = [
    ("issued", lambda s: s.ask(), "issued", ""),
    ("no form", lambda s: s.post("{}", content_type="application/json"), "refused",
     "invalid_request"),
    ("no grant type", lambda s: s.post("a=b"), "refused", "invalid_request"),
    ("no credentials", lambda s: s.post("grant_type=client_credentials"), "refused",
     "invalid_client"),
    ("another grant", lambda s: s.post("grant_type=x", authorization=s.basic()), "refused",
     "unsupported_grant_type"),
    ("wrong secret", lambda s: s.ask(authorization=s.basic(secret="x")), "refused",
     "invalid_client"),
    ("unknown scope", lambda s: s.ask(("scope", "Admin")), "refused", "invalid_scope"),
    ("unknown resource", lambda s: s.ask(("resource", "urn:x")), "refused", "invalid_target"),
    ("another method", lambda s: s.http.get("/oidc/token"), "refused", "invalid_request"),
    ("another host", lambda s: s.http.post("/oidc/token", headers={"Host": "evil"}), "refused",
     "invalid_request"),
    ("too large", lambda s: s.post("x=" + "y" * 70_000), "refused", "invalid_request"),
    ("no database", failing, "failed", "temporarily_unavailable"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "outcome", "error"),
    [pytest.param(*rest, id=name) for name, *rest in ENDINGS],
)
def test_each_token_request_is_one_event_whatever_way_it_ends(
    server: Running, audited: Audited, ask: Ask, outcome: str, error: str
) -> None:
    ask(server)
    assert [(event["outcome"], event.get("error", "")) for event in audited()] == [(outcome, error)]


def test_what_is_no_token_request_is_no_event(server: Running, audited: Audited) -> None:
    server.http.get("/oidc/jwks")
    server.http.get("/nowhere")
    assert audited() == []


@pytest.mark.parametrize(
    ("client_id", "is_registered", "reason"),
    [("worker", True, "the secret of worker does not match"),
     ("nobody", False, "no such client is registered")],
)  # fmt: skip
def test_who_did_not_prove_it_is_only_claimed(
    server: Running, audited: Audited, client_id: str, is_registered: bool, reason: str
) -> None:
    server.ask(authorization=server.basic(client_id, "wrong"))
    (event,) = audited()
    assert (event["claimed_client_id"], event["is_registered"]) == (client_id, is_registered)
    assert (event["reason"], "client_id" in event) == (reason, False)


def test_who_proved_it_and_is_refused_is_named_with_what_it_asked_for(
    server: Running, audited: Audited
) -> None:
    server.ask(("scope", "Admin"), ("resource", BANK))
    (event,) = audited()
    assert (event["client_id"], "claimed_client_id" in event) == ("worker", False)
    assert (event["requested_scope"], event["requested_resource"]) == ("Admin", BANK)


def test_two_requests_in_one_process_share_no_fact(server: Running, audited: Audited) -> None:
    server.ask(("scope", "Admin"))
    server.post("a=b")
    assert set(audited()[1]) == {"action", "outcome", "address", "status", "error", "reason"}


@pytest.mark.parametrize(
    "client_id", ["x" * 10_000, "a\x1b[2J\nb\x00", "\u202e😀" * 500], ids=["long", "control", "odd"]
)
def test_a_hostile_client_id_is_short_and_harmless(
    server: Running, audited: Audited, client_id: str
) -> None:
    body = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": "x"}
    server.http.post("/oidc/token", data=body)
    claimed = audited()[0]["claimed_client_id"]
    whole = claimed.removesuffix("…")
    assert (whole.isascii(), whole.isprintable()) == (True, True)
    assert len(whole) <= LONGEST_SAID


def test_no_secret_and_no_token_is_in_a_line_of_the_trail(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    token = server.ask(("scope", "openid")).get_json()["access_token"]
    misplaced = server.basic(server.secret, "x")
    server.ask(("scope", server.secret), ("resource", f"urn:{token}"), authorization=misplaced)
    format_ = RedactingJsonFormatter("auth_server").format
    lines = [format_(record) for record in caplog.records if record.name == "audit"]
    assert len(lines) == 2
    assert [line for line in lines if server.secret in line or token[-80:] in line] == []


def test_what_is_noted_outside_the_application_is_forgotten() -> None:
    note(client_id="worker")

    assert noted() == {}


def test_what_was_said_is_escaped_and_cut() -> None:
    assert said("a\nb") == "a\\nb"
    assert said("é" * 1000) == f"{said('é' * 64)}…"


def test_the_actor_of_a_command_is_the_user_of_the_operating_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert actor() not in ("", "somebody-else")
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    assert actor() == "987654321"


def test_a_rotation_of_keys_that_was_due_is_an_event(server: Running, audited: Audited) -> None:
    server.ask()
    server.clock.time += 90 * 86400
    server.ask()
    before, rotation, after = audited()
    assert before["kid"] != after["kid"]
    assert rotation == {
        "action": "keys rotate",
        "outcome": "done",
        "kid": after["kid"],
        "reason": "it was due",
    }
