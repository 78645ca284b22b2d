"""PostgreSQL goes away under load and comes back: 503 meanwhile, and nothing acknowledged is lost.

How long healing took stands in the summary; no service is started again for it.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

import pytest
import requests

from shared.identifiers import ACCOUNT_PATH, TOKEN_PATH
from tests.containers.conftest import Healed
from tests.stack import RegisteredClient, start_run
from tests.stack.fragile_containers import FragileContainers, seconds_until
from tests.stack.local_stack import register_client

SERVICES = ("auth-server", "resource-server", "client-service")
TIMEOUT_SECONDS = 30
LONGEST_ANSWER_SECONDS = 15  # a connection takes 3 to give up, a look-up of its name 5
PAUSE_SECONDS = 0.05
WELL = {200, 202}
HOLD_THE_JOB = "BEGIN; LOCK TABLE job IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60);"
LET_IT_GO = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True)
class Answer:
    status: int
    retry_after: str | None
    seconds: float


@dataclass
class Load:
    """Asks every route that needs a database, over and over, and registers clients meanwhile."""

    fragile: FragileContainers
    client: RegisteredClient
    token: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    acknowledged_runs: list[str] = field(default_factory=list)
    acknowledged_clients: list[RegisteredClient] = field(default_factory=list)
    refused_commands: list[str] = field(default_factory=list)
    _over: Event = field(default_factory=Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [Thread(target=self._ask, args=route) for route in self._routes().items()]
        threads.append(Thread(target=self._register))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def all_answer_now(self, statuses: set[int]) -> Callable[[], bool]:
        """Return what tells whether each route has answered one of ``statuses`` since this call."""
        seen = {route: len(answers) for route, answers in self.answers.items()}
        return lambda: all(
            statuses & {answer.status for answer in self.answers[route][number:]}
            for route, number in seen.items()
        )

    def _routes(self) -> Mapping[str, Callable[[], requests.Response]]:
        stack, bearer = self.fragile.stack, {"Authorization": f"Bearer {self.token}"}
        account = stack.bank_url + ACCOUNT_PATH
        routes = {
            "token": lambda: token_answer(self.fragile, self.client),
            "account": lambda: requests.get(account, headers=bearer, timeout=TIMEOUT_SECONDS),
            "page": lambda: requests.get(stack.client_url + "/", timeout=TIMEOUT_SECONDS),
            "runs": lambda: requests.get(stack.client_url + "/runs", timeout=TIMEOUT_SECONDS),
            "start": self._start_a_run,
        }
        self.answers.update({route: [] for route in routes})
        return routes

    def _ask(self, route: str, ask: Callable[[], requests.Response]) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            began = time.monotonic()
            answer = ask()
            took = time.monotonic() - began
            retry_after = answer.headers.get("Retry-After")
            self.answers[route].append(Answer(answer.status_code, retry_after, took))

    def _start_a_run(self) -> requests.Response:
        answer = start_run(self.fragile.stack, TIMEOUT_SECONDS)
        if answer.status_code == 202:
            self.acknowledged_runs.append(answer.json()["id"])
        return answer

    def _register(self) -> None:
        while not self._over.is_set():
            name = f"under-load-{secrets.token_hex(4)}"
            done = self.fragile.stack.cli("auth_server", "clients", "add", name, "--json")
            if done.returncode == 0:
                secret = json.loads(done.stdout)["client_secret"]
                self.acknowledged_clients.append(RegisteredClient(name, secret))
            else:
                self.refused_commands.append(done.stderr)


def token_answer(fragile: FragileContainers, client: RegisteredClient) -> requests.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": client.client_id,
        "client_secret": client.client_secret,
    }
    return requests.post(fragile.stack.auth_url + TOKEN_PATH, form, timeout=TIMEOUT_SECONDS)


def status_of_run(fragile: FragileContainers, run_id: str) -> str:
    """Return where a run stands; an assertion fails where the service does not know it."""
    url = f"{fragile.stack.client_url}/runs/{run_id}"
    answer = requests.get(url, timeout=TIMEOUT_SECONDS)
    assert answer.status_code == 200
    return str(answer.json()["status"])


@pytest.mark.parametrize("befalls", ["stopped", "killed"])
def test_under_load_errors_are_503_until_it_is_back_and_no_acknowledged_write_is_lost(
    fragile: FragileContainers, healed: Healed, befalls: str
) -> None:
    services = fragile.starts(*SERVICES)
    client = register_client(fragile.stack, f"before-it-was-{befalls}")
    load = Load(fragile, client, token_answer(fragile, client).json()["access_token"])

    with load.running():
        seconds_until(load.all_answer_now(WELL))
        seconds_until(lambda: len(load.acknowledged_clients) > 1)
        with getattr(fragile, befalls)("postgres"):
            seconds_until(load.all_answer_now({503}))
            seconds_until(lambda: bool(load.refused_commands))
        healed(seconds_until(load.all_answer_now(WELL)))
        registered = len(load.acknowledged_clients)
        seconds_until(lambda: len(load.acknowledged_clients) > registered)

    answers = [answer for answers in load.answers.values() for answer in answers]
    away = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} <= {200, 202, 409, 503}
    assert {answer.retry_after for answer in away} == {"2"}
    assert max(answer.seconds for answer in answers) < LONGEST_ANSWER_SECONDS
    assert "Traceback" not in "".join(load.refused_commands)
    assert fragile.starts(*SERVICES) == services

    assert fragile.succeeds() is True
    stands = {status_of_run(fragile, run_id) for run_id in load.acknowledged_runs}
    assert stands <= {"succeeded", "failed", "interrupted"}
    tokens = [token_answer(fragile, client).status_code for client in load.acknowledged_clients]
    assert tokens == [200] * len(load.acknowledged_clients)


def test_a_lock_that_nobody_gives_back_holds_a_run_up_for_seconds_alone(
    fragile: FragileContainers, healed: Healed
) -> None:
    postgres = fragile.container("postgres")
    psql = ["psql", "--username=client_service", "--command"]
    answers = []

    def is_held_up() -> bool:
        answers.append(start_run(fragile.stack, TIMEOUT_SECONDS))
        return answers[-1].status_code == 503

    postgres.exec_run([*psql, HOLD_THE_JOB], detach=True)
    seconds_until(is_held_up)
    postgres.exec_run([*psql, LET_IT_GO])
    healed(seconds_until(fragile.succeeds))

    assert answers[-1].headers["Retry-After"] == "2"
    assert answers[-1].elapsed.total_seconds() < LONGEST_ANSWER_SECONDS
