"""Each token request is one line of the audit trail, wherever the system runs."""

import json
import time
from typing import Any

import requests

from tests.stack import Stack
from tests.stack.local_stack import register_client

TIMEOUT_SECONDS = 10
POST = {"grant_type": "client_credentials", "scope": "Read"}


def audited(stack: Stack, trace_id: str) -> list[dict[str, Any]]:
    """Return the events of one trace, once the first of them is in the log."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    found: list[dict[str, Any]] = []
    while not found and time.monotonic() < deadline:
        lines = [json.loads(line) for line in stack.logs().splitlines() if '"audit"' in line]
        found = [line for line in lines if line.get("trace_id") == trace_id]
    return found


def test_a_token_and_a_refusal_are_one_line_each(stack: Stack) -> None:
    client = register_client(stack, "audited")
    url = f"{stack.auth_url}/oidc/token"
    issued, refused = f"{1:032x}", f"{2:032x}"

    for trace_id, secret in ((issued, client.client_secret), (refused, "wrong")):
        requests.post(
            url,
            POST,
            auth=(client.client_id, secret),
            headers={"traceparent": f"00-{trace_id}-{1:016x}-01"},
            timeout=TIMEOUT_SECONDS,
        )

    (of_token,), (of_refusal,) = audited(stack, issued), audited(stack, refused)
    assert (of_token["outcome"], of_token["client_id"]) == ("issued", "audited")
    assert (of_token["scope"], of_token["audience"]) == ("Read", stack.bank_url)
    assert (of_refusal["outcome"], of_refusal["claimed_client_id"]) == ("refused", "audited")
    assert of_refusal["reason"] == "the secret of audited does not match"
    assert client.client_secret not in json.dumps([of_token, of_refusal])
