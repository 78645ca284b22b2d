"""A secret is rotated while the client works: nobody is refused, at no moment, and no run fails.

`SECRET_ROTATIONS=10` rotates it that often.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
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
ROTATIONS = int(os.environ.get("SECRET_ROTATIONS", "1"))


@contextmanager
def load(ask: Callable[[], int], run: Callable[[], str]) -> Iterator[tuple[list[int], list[str]]]:
    """Ask from four threads at once, and run beside them, until the end; note what came of it."""
    statuses: list[int] = []
    runs: list[str] = []
    done = Event()

    def note(act: Callable[[], Any], results: list[Any]) -> None:
        while not done.is_set():
            results.append(act())

    with ThreadPoolExecutor(5) as pool:
        workers = [pool.submit(note, ask, statuses) for _ in range(4)]
        workers.append(pool.submit(note, run, runs))
        try:
            yield statuses, runs
        finally:
            done.set()
        for worker in workers:
            worker.result()


def wait_for_more(results: Sequence[object], more: int = ANSWERS_BETWEEN_STEPS) -> None:
    enough, deadline = len(results) + more, time.monotonic() + DEADLINE_SECONDS
    while len(results) < enough:
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

    def run_the_job() -> str:
        """Run it in a process that has no token yet."""
        return str(own_stack.run_once(CLIENT_SERVICE_VAULT_ENTRY=CLIENT).report["status"])

    with load(ask_for_a_token, run_the_job) as (statuses, runs):
        for _ in range(ROTATIONS):
            wait_for_more(statuses)
            rotated = command(own_stack, "secrets", "rotate", CLIENT, "--to-vault", CLIENT)
            wait_for_more(statuses)
            command(own_stack, "secrets", "revoke", CLIENT, rotated["old_secret_id"], "--yes")
        wait_for_more(statuses)
        wait_for_more(runs, 1)

    run = own_stack.run_once(CLIENT_SERVICE_VAULT_ENTRY=CLIENT)
    uses = [row["last_used_at"] for row in command(own_stack, "secrets", "list", CLIENT)]
    assert own_stack.read_from_vault(CLIENT)["client_secret"] != before["client_secret"]
    assert (set(statuses), set(runs)) == ({200}, {"succeeded"})
    assert (run.error, run.arrows) == (None, list(Arrow))
    assert (len(uses), None in uses) == (1 + ROTATIONS, False)
