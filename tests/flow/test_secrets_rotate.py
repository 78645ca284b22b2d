"""A secret is rotated while the client works: nobody is refused, at no moment."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import requests

from shared.arrows import Arrow
from tests.stack.local_stack import LocalStack

CLIENT = "rotated-under-load"
DEADLINE_SECONDS = 30
ANSWERS_BETWEEN_STEPS = 20


@contextmanager
def load(answer: Callable[[], int]) -> Iterator[list[int]]:
    """Ask from four threads at once, until the end; note the statuses."""
    statuses: list[int] = []
    done = Event()

    def work() -> None:
        while not done.is_set():
            statuses.append(answer())

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work) for _ in range(4)]
        try:
            yield statuses
        finally:
            done.set()
        for worker in workers:
            worker.result()


def wait_for_more(statuses: list[int]) -> None:
    enough, deadline = len(statuses) + ANSWERS_BETWEEN_STEPS, time.monotonic() + DEADLINE_SECONDS
    while len(statuses) < enough:
        assert time.monotonic() < deadline, "the load does not go on"
        time.sleep(0.05)


def command(stack: LocalStack, *arguments: str) -> Any:
    result = stack.cli("auth_server", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_secret_rotated_under_load_refuses_not_one_request(own_stack: LocalStack) -> None:
    command(own_stack, "clients", "add", CLIENT, "--to-vault", CLIENT)
    before = own_stack.read_from_vault(CLIENT)

    def ask_for_a_token() -> int:
        held = own_stack.read_from_vault(CLIENT)
        pair = (held["client_id"], held["client_secret"])
        url, form = f"{own_stack.auth_url}/oidc/token", {"grant_type": "client_credentials"}
        return requests.post(url, form, auth=pair, timeout=DEADLINE_SECONDS).status_code

    with load(ask_for_a_token) as statuses:
        wait_for_more(statuses)
        rotated = command(own_stack, "secrets", "rotate", CLIENT, "--to-vault", CLIENT)
        wait_for_more(statuses)
        command(own_stack, "secrets", "revoke", CLIENT, rotated["old_secret_id"], "--yes")
        wait_for_more(statuses)

    run = own_stack.run_once(CLIENT_SERVICE_VAULT_ENTRY=CLIENT)
    uses = [row["last_used_at"] for row in command(own_stack, "secrets", "list", CLIENT)]
    assert own_stack.read_from_vault(CLIENT)["client_secret"] != before["client_secret"]
    assert set(statuses) == {200}
    assert (run.error, run.arrows) == (None, list(Arrow))
    assert (len(uses), None in uses) == (2, False)
