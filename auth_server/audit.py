"""The audit trail: one event for each decision of this server, on a logger of its own, `audit`.

A token request gets exactly one, whatever way it ends; so does a command that changes something.
The parts that know a fact note it while the decision is made; at its end they stand in one line.
No secret and no token is ever noted, and what a caller merely said is marked so and made harmless.
"""

import base64
import logging
import os
import pwd
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from flask import Flask, Response, json

from shared.at_hand import this_g, this_request
from shared.identifiers import INTROSPECTION_PATH, REVOCATION_PATH, TOKEN_PATH
from shared.service_logging import log_event

log = logging.getLogger("audit")

AUDITED_PATHS = {TOKEN_PATH: "token", INTROSPECTION_PATH: "introspect", REVOCATION_PATH: "revoke"}
"""The endpoints whose every request is a decision, and what each decides about."""

LONGEST_SAID = 256

_CLAIMED = ("claimed_client_id", "is_registered")
_REQUESTED = ("requested_scope", "requested_resource")

Client = TypeVar("Client")


def note(**facts: object) -> None:
    """Keep ``facts`` for the event of the decision under way; a later one wins over an earlier."""
    noted().update(facts)


def noted() -> dict[str, Any]:
    """Return the facts of the decision under way."""
    try:
        kept = this_g()
    except RuntimeError:  # outside the application, where nothing is recorded
        return {}
    try:
        facts: dict[str, Any] = kept.audit
    except AttributeError:  # the first of this decision
        facts = kept.audit = {}
    return facts


def record(action: str, outcome: str, **facts: object) -> None:
    """Write an event: what was decided about, how it went, and whatever else is known of it."""
    known = {name: fact for name, fact in facts.items() if fact is not None and fact != ""}
    event: dict[str, object] = {"action": action, "outcome": outcome, **known}
    because = f" because {facts['reason']}" if facts.get("reason") else ""
    log_event(log, f"{action}: {outcome}{because}", event)


def said(text: str) -> str:
    """Return what a caller said fit for a log: no control character, nothing outside ASCII, short.

    JSON would escape it as well, but whoever reads the value gets it back unescaped.
    """
    # Cut before as well, so that an endless text costs no more than a long one.
    escaped = text[: LONGEST_SAID + 1].encode("unicode_escape").decode()
    return escaped if len(escaped) <= LONGEST_SAID else f"{escaped[:LONGEST_SAID]}…"


def audit_requests(app: Flask) -> None:
    """Let ``app`` record each request to an audited endpoint at its end."""

    @app.after_request
    def record_decision(response: Response) -> Response:
        environ = this_request().environ
        action = AUDITED_PATHS.get(environ["PATH_INFO"])
        if action:
            address, status = environ.get("REMOTE_ADDR"), response.status_code
            facts = _facts(status)
            outcome = facts.pop("outcome", _outcome(status))
            record(action, outcome, address=address, status=status, **facts)
        return response


def noting_who_asks(
    find_client: Callable[[str], Client | None],
) -> Callable[[str], Client | None]:
    """Return ``find_client``, which notes whom a request claims to come from, proven or not."""

    def find(client_id: str) -> Client | None:
        note(claimed_client_id=client_id)
        client = find_client(client_id)
        note(is_registered=client is not None)
        return client

    return find


def note_token(token: str, claims: Mapping[str, Any], scope: str) -> None:
    """Note which token was made; not the token itself."""
    kid = _key_id(token.partition(".")[0])
    note(scope=scope, audience=claims["aud"], jti=claims["jti"], kid=kid)


@lru_cache(maxsize=64)
def _key_id(protected_header: str) -> str:
    """Return the `kid` in the first part of a JWT of ours: one for each key, so remembered."""
    header: dict[str, str] = json.loads(base64.urlsafe_b64decode(protected_header + "=="))
    return header["kid"]


def actor() -> str:
    """Return the user of the operating system that a command runs as.

    Not from the environment: there anybody can write another's name.
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number that has no name
        return str(os.getuid())


def _outcome(status: int) -> str:
    if status < 400:
        return "issued"
    return "refused" if status < 500 else "failed"


def _facts(status: int) -> dict[str, Any]:
    """Return what was noted, but for what the outcome makes pointless.

    Of a token that was issued that is what was asked for, as what it holds is there; and where it
    is proven who asks, who it claimed to be.
    """
    facts = dict(noted())
    for name in _CLAIMED if "client_id" in facts else ():
        facts.pop(name, None)
    if status < 400:
        for name in _REQUESTED:
            facts.pop(name, None)
        return facts
    return {name: said(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
