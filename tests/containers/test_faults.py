"""Faults that only containers can show: what goes on meanwhile, and that all of it heals by itself.

How long healing took stands in the summary; no service is started again for it.
"""

import time

import pytest
import requests

from shared.identifiers import ACCOUNT_PATH, DEMO_CLIENT, TOKEN_PATH
from tests.containers.conftest import Healed
from tests.stack.fragile_containers import FragileContainers, seconds_until

SERVICES = ("auth-server", "resource-server", "client-service")
TIMEOUT_SECONDS = 30
LONGEST_FAILURE_SECONDS = 30
"""The last try begins within 10, has 3 to connect and 10 to read; the rest: a busy machine."""


def asked_for_a_token(fragile: FragileContainers, secret: str) -> requests.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": DEMO_CLIENT,
        "client_secret": secret,
    }
    return requests.post(fragile.stack.auth_url + TOKEN_PATH, form, timeout=TIMEOUT_SECONDS)


def secret_in_the_vault(fragile: FragileContainers) -> str:
    return fragile.stack.read_from_vault(DEMO_CLIENT)["client_secret"]


def status_of_the_account(fragile: FragileContainers, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    url = fragile.stack.bank_url + ACCOUNT_PATH
    return requests.get(url, headers=headers, timeout=TIMEOUT_SECONDS).status_code


@pytest.mark.parametrize("befalls", ["paused", "killed"])
def test_without_the_auth_server_tokens_serve_until_they_end_and_the_bank_has_its_keys(
    fragile: FragileContainers, healed: Healed, befalls: str
) -> None:
    others = fragile.starts("resource-server", "client-service")
    token = asked_for_a_token(fragile, secret_in_the_vault(fragile)).json()["access_token"]
    seconds_until(fragile.succeeds_with_a_new_token())

    with getattr(fragile, befalls)("auth-server"):
        kept = fragile.run()
        account = status_of_the_account(fragile, token)
        failed = fragile.failing_run()
        account_later = status_of_the_account(fragile, token)
    healed(seconds_until(fragile.succeeds_with_a_new_token()))

    assert (kept["status"], account, account_later) == ("succeeded", 200, 200)
    assert failed["error"] == "no_answer"
    assert fragile.starts("resource-server", "client-service") == others


def test_while_the_vault_is_sealed_the_client_asks_with_the_credentials_that_it_has(
    fragile: FragileContainers, healed: Healed
) -> None:
    services = fragile.starts(*SERVICES)
    seconds_until(fragile.succeeds_with_a_new_token())

    with fragile.sealed_vault():
        ready = fragile.client_is_ready()
        seconds_until(fragile.succeeds_with_a_new_token())
    healed(seconds_until(fragile.client_is_ready))

    assert ready is False
    assert fragile.starts(*SERVICES) == services


def test_a_vault_that_forgot_everything_is_mended_by_provisioning_alone(
    fragile: FragileContainers, healed: Healed
) -> None:
    services = fragile.starts(*SERVICES)
    old_secret = secret_in_the_vault(fragile)

    fragile.container("openbao").restart()
    seconds_until(fragile.succeeds_with_a_new_token())  # with what it has
    ready = fragile.client_is_ready()
    began = time.monotonic()
    fragile.stack.demo.compose.do("up", "--detach", "--no-recreate")
    seconds_until(fragile.client_is_ready)
    seconds_until(fragile.succeeds_with_a_new_token())
    healed(time.monotonic() - began)

    assert ready is False
    assert asked_for_a_token(fragile, old_secret).json()["error"] == "invalid_client"
    assert asked_for_a_token(fragile, secret_in_the_vault(fragile)).status_code == 200
    assert fragile.starts(*SERVICES) == services


def test_a_bank_that_is_cut_off_fails_runs_soon_and_is_reached_again_when_it_is_back(
    fragile: FragileContainers, healed: Healed
) -> None:
    services = fragile.starts(*SERVICES)
    seconds_until(fragile.succeeds)

    with fragile.cut_off("resource-server"):
        began = time.monotonic()
        run = fragile.run()
        took = time.monotonic() - began
    healed(seconds_until(fragile.succeeds))

    assert (run["status"], run["error"]) == ("failed", "no_answer")
    assert took < LONGEST_FAILURE_SECONDS
    assert fragile.starts(*SERVICES) == services
