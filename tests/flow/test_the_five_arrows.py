"""The diagram over real HTTP: which arrows pass, and which do not when something is wrong."""

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import pytest
import requests

from demo.narration import missing, narrate
from shared.arrows import Arrow
from shared.identifiers import DEMO_CLIENT
from tests.stack import Stack, start_run
from tests.stack.local_stack import LocalStack, register_client

TIMEOUT_SECONDS = 10


def eventually(answer: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """Ask again until there is an answer: runs and exporters work beside the test."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (found := answer()) is None:
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.05)
    return found


def run_with_its_arrows(location: str) -> dict[str, Any] | None:
    """Return the run once the bank has reported arrow 5; 1 to 3 are only there without a token."""
    run: dict[str, Any] = requests.get(location, timeout=TIMEOUT_SECONDS).json()
    passed = {event["arrow"] for event in run["arrows"] if event["outcome"] == "passed"}
    is_told = run["status"] == "succeeded" and passed >= {4, 5}
    return run if is_told or run["status"] == "failed" else None


def vault_entry_with_wrong_secret(stack: Stack) -> str:
    right = stack.read_from_vault(DEMO_CLIENT)["client_secret"]
    wrong = {"client_id": DEMO_CLIENT, "client_secret": right[::-1]}
    stack.put_into_vault("wrong-secret", wrong)
    return "wrong-secret"


def test_a_run_passes_the_five_arrows_in_their_order(stack: Stack) -> None:
    run = stack.run_once()

    assert run.error is None
    assert run.arrows == list(Arrow)
    assert run.refusals == []


def test_each_arrow_is_recorded_by_the_service_where_it_starts(stack: Stack) -> None:
    run = stack.run_once()

    services = {event.arrow: event.service for event in run.events}
    assert services == {
        1: "client_service",
        2: "auth_server",
        3: "auth_server",
        4: "client_service",
        5: "resource_server",
    }


def test_the_token_request_is_the_one_of_the_design(stack: Stack) -> None:
    run = stack.run_once()

    request, _, answer = run.events[:3]
    token_url = f"{stack.auth_url_for_services}/oidc/token"
    assert (request.method, request.url) == ("POST", token_url)
    assert request.parameters is not None
    assert request.parameters["grant_type"] == "client_credentials"
    assert request.parameters["scope"] == "openid"
    assert answer.status == 200
    assert answer.parameters is not None
    assert answer.parameters["scope"] == "openid Read Write"
    assert answer.parameters["expires_in"] == "300"
    assert answer.parameters["token_type"] == "Bearer"


def test_with_bad_credentials_only_arrow_1_passes(stack: Stack) -> None:
    run = stack.run_once(CLIENT_SERVICE_VAULT_ENTRY=vault_entry_with_wrong_secret(stack))

    assert run.error == "401 invalid_client"
    assert run.arrows == [Arrow.REQUEST_TOKEN]
    assert run.refusals == [(401, "invalid_client")]


def test_with_a_token_for_another_api_the_bank_refuses_after_arrow_4(stack: Stack) -> None:
    another = "https://another-api.example"
    added = stack.cli("auth_server", "resources", "add", another, "--scope", "Look")
    client = register_client(stack, "reader-of-another-api", "--resource", another)
    stack.put_into_vault(
        "another-api",
        {"client_id": client.client_id, "client_secret": client.client_secret},
    )

    run = stack.run_once(
        CLIENT_SERVICE_VAULT_ENTRY="another-api",
        CLIENT_SERVICE_SCOPE="Look",
        CLIENT_SERVICE_RESOURCE=another,
    )

    assert added.returncode == 0
    assert run.error == "401 invalid_token"
    assert run.arrows == [
        Arrow.REQUEST_TOKEN,
        Arrow.VALIDATE_CLIENT,
        Arrow.ISSUE_TOKEN,
        Arrow.READ_RESOURCE,
    ]
    assert run.refusals[-1] == (401, "invalid_token")


def test_with_a_token_that_may_not_read_the_bank_names_the_scope(stack: Stack) -> None:
    run = stack.run_once(CLIENT_SERVICE_SCOPE="Write")

    assert run.error == "403 insufficient_scope"
    assert run.refusals == [(403, "insufficient_scope")]
    assert missing(run.events) == [Arrow.RETURN_RESOURCE]


def test_without_the_bank_arrow_4_and_5_are_missing_and_the_failure_is_told(
    own_stack: LocalStack,
) -> None:
    own_stack.demo.resource_server.stop()

    run = own_stack.run_once()

    assert missing(run.events) == [Arrow.READ_RESOURCE, Arrow.RETURN_RESOURCE]
    assert run.error is not None
    told = narrate(run.events)
    assert "  3  " in told
    assert "  4  " not in told


def test_a_run_can_be_started_over_http_and_tells_its_arrows(stack: Stack) -> None:
    started = start_run(stack)
    assert started.status_code == 202

    location = urljoin(f"{stack.client_url}/runs", started.headers["Location"])
    run = eventually(lambda: run_with_its_arrows(location))

    assert run["status"] == "succeeded"
    assert [event["outcome"] for event in run["arrows"]] == ["passed"] * len(run["arrows"])


def test_the_id_token_does_not_open_the_account(stack: Stack) -> None:
    credentials = stack.read_from_vault(DEMO_CLIENT)
    tokens = requests.post(
        f"{stack.auth_url}/oidc/token",
        {"grant_type": "client_credentials", "scope": "openid"},
        auth=(credentials["client_id"], credentials["client_secret"]),
        timeout=TIMEOUT_SECONDS,
    ).json()

    answers = {
        name: requests.get(
            f"{stack.bank_url}/account",
            headers={"Authorization": f"Bearer {tokens[name]}"},
            timeout=TIMEOUT_SECONDS,
        )
        for name in ("access_token", "id_token")
    }

    assert answers["access_token"].status_code == 200
    assert answers["id_token"].status_code == 401
    challenge = answers["id_token"].headers["WWW-Authenticate"]
    assert "this is not an access token but an id_token" in challenge


@pytest.mark.parametrize("service", ["auth_server", "resource_server", "client_service"])
def test_a_command_line_answers_in_json(stack: Stack, service: str) -> None:
    arguments = {
        "auth_server": ["clients", "list", "--json"],
        "resource_server": ["access", "list", "--json"],
        "client_service": ["run-once", "--json"],
    }[service]

    result = stack.cli(service, *arguments)

    assert result.returncode == 0
    assert json.loads(result.stdout)
