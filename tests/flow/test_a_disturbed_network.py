"""A network that cuts, truncates, delays, and answers 500, 429, 401 and redirects at random.

Between the client and both servers; the servers are real. `DISTURBED_SECONDS=600` makes it long,
`DISTURBED_SEED` another one.
"""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

import pytest
import requests
from sqlalchemy import select

from client_service.app import MIGRATIONS, ClientService, create_app
from client_service.bearer_auth import BearerAuth
from client_service.issuer_metadata import METADATA_PATH, IssuerMetadata
from client_service.models import Run
from client_service.retries import MOST_TRIES
from client_service.runs import run_fields
from client_service.settings import ClientServiceSettings
from client_service.token_messages import ClientCredentials, TokenError
from client_service.token_source import TokenSource
from shared.database import Database, migrate
from shared.identifiers import TOKEN_PATH
from tests.stack.disturbed_network import (
    KINDS_OF_FAULTS,
    Answer,
    DisturbedNetwork,
    Exchange,
    form_of,
)
from tests.stack.local_stack import LocalStack, register_client
from tests.stack.loopback import LoopbackServer

SECONDS = float(os.environ.get("DISTURBED_SECONDS", "5"))
SEED = int(os.environ.get("DISTURBED_SEED", "7"))
CLIENT = "disturbed"
ACCOUNT = "account-of-disturbed"
SEEDED = 30
PAYERS = 3
PAYERS_SCOPE = "Read Write"
WORKERS_SCOPE = "Read"
HEALING_SECONDS = 90
TIMEOUT_SECONDS = 10

FINAL_ANSWERS = ("307 ", "401 ")
MOST_FAILED_OF_FEW = 3
MOST_FAILED_SHARE = 0.15
FEWEST_TRIES = 4
"""The first three pauses are 3.5 s together at most, and ten are given: four tries have room."""

INVALID_TOKEN = Answer(401, (("WWW-Authenticate", 'Bearer error="invalid_token"'),))
INVALID_CLIENT = Answer(401, body=b'{"error": "invalid_client"}')


@dataclass
class Payer:
    """Makes payments one after the other, each sent again with its key until it is answered."""

    name: str
    url: str
    session: requests.Session
    stopped: Event
    made: list[str] = field(default_factory=list)
    tries: int = 0
    faults: list[BaseException] = field(default_factory=list)

    def work(self) -> None:
        try:
            while not self.stopped.is_set():
                key = f"{self.name}-{len(self.made)}"
                while not self._pays(key):
                    time.sleep(0.01)  # no assumption: to be kind to the other threads
                self.made.append(key)
        except BaseException as error:
            self.faults.append(error)
            raise

    def _pays(self, key: str) -> bool:
        self.tries += 1
        order = {"credit_account_id": "demo-counterparty", "amount": 1, "currency": "EUR"}
        with suppress(requests.RequestException, TokenError):
            answer = self.session.post(
                f"{self.url}/payments",
                json={**order, "reference": key},
                headers={"Idempotency-Key": key},
                timeout=TIMEOUT_SECONDS,
            )
            return answer.status_code == 201
        return False


@dataclass
class Storm:
    """What was left after the storm."""

    runs: list[dict[str, Any]]
    payers: list[Payer]
    to_issuer: list[Exchange]
    to_bank: list[Exchange]
    most_in_flight: Counter[str]
    elsewhere: str
    log: str
    secret: str
    account: dict[str, Any]
    balance_before: int
    findings: list[Any]

    @property
    def tokens(self) -> set[str]:
        """Every access token that the authorization server issued."""
        answers = [one.answer for one in self.to_issuer if b"access_token" in one.answer]
        return {json.loads(answer)["access_token"] for answer in answers}


def token_kind(exchange: Exchange) -> str | None:
    """Name a token request by the source that it is of: each asks for a scope of its own."""
    return form_of(exchange)["scope"][0] if exchange.path == TOKEN_PATH else None


@pytest.fixture(scope="module")
def storm(
    stack_of_processes: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storm]:
    stack, random = stack_of_processes, Random(SEED)  # noqa: S311
    client = register_client(stack, CLIENT)
    pair = {"client_id": client.client_id, "client_secret": client.client_secret}
    stack.put_into_vault(CLIENT, pair)
    balance = bank(stack, "ledger", "seed", "--transactions", str(SEEDED), "--account", ACCOUNT)
    bank(stack, "access", "grant", client.client_id, ACCOUNT, "--default")
    log = Log()
    with (
        log,
        LoopbackServer() as elsewhere,
        DisturbedNetwork(
            stack.auth_url,
            random,
            elsewhere.url,
            unauthorized=INVALID_CLIENT,
            kind_of=token_kind,
        ) as issuer,
        DisturbedNetwork(
            stack.bank_url, random, elsewhere.url, unauthorized=INVALID_TOKEN
        ) as to_bank,
    ):
        metadata_url = issuer.url + METADATA_PATH
        service = worker(stack, metadata_url, to_bank.url, tmp_path_factory.mktemp("client"))
        source = TokenSource(
            IssuerMetadata(stack.auth_url, metadata_url=metadata_url).token_endpoint,
            lambda: ClientCredentials(client.client_id, client.client_secret),
            PAYERS_SCOPE,
        )
        payers = weather(service, source, issuer, to_bank, elsewhere)
        account = requests.Session()
        account.auth = BearerAuth(source, origins=[to_bank.url])
        yield Storm(
            runs=runs_of(service),
            payers=payers,
            to_issuer=issuer.traffic.exchanges,
            to_bank=to_bank.traffic.exchanges,
            most_in_flight=issuer.traffic.most_in_flight,
            elsewhere=str(elsewhere.asked),
            log=log.text(),
            secret=client.client_secret,
            account=account.get(f"{to_bank.url}/account", timeout=TIMEOUT_SECONDS).json(),
            balance_before=balance["balance"],
            findings=bank(stack, "ledger", "verify")["findings"],
        )
        source.stop()
        service.database.engine.dispose()


def weather(
    service: ClientService,
    source: TokenSource,
    issuer: DisturbedNetwork,
    to_bank: DisturbedNetwork,
    elsewhere: LoopbackServer,
) -> list[Payer]:
    """Let worker and payers work while it storms, and until both have worked once after it."""
    stopped, payers = Event(), []
    for number in range(PAYERS):
        session = requests.Session()
        session.auth = BearerAuth(source, origins=[to_bank.url])
        payers.append(Payer(f"payer-{number}", to_bank.url, session, stopped))
    threads = [Thread(target=payer.work) for payer in payers]
    service.start()
    try:
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        wait_until(lambda: faults_of(issuer, to_bank) >= {*KINDS_OF_FAULTS} and elsewhere.asked)
    finally:
        issuer.share = to_bank.share = 0
        stopped.set()
        for thread in threads:
            thread.join(HEALING_SECONDS)
        calm_since = time.time()
        wait_until(lambda: has_succeeded_since(calm_since, service))
        service.stop()
    return payers


def wait_until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + HEALING_SECONDS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def faults_of(*networks: DisturbedNetwork) -> set[str | None]:
    return {one.fault for network in networks for one in list(network.traffic.exchanges)}


def has_succeeded_since(moment: float, service: ClientService) -> bool:
    since = select(Run.id).where(Run.started >= moment, Run.status == "succeeded")
    with service.database.reading() as session:
        return session.scalars(since.limit(1)).first() is not None


def worker(stack: LocalStack, metadata_url: str, bank_url: str, folder: Path) -> ClientService:
    """Return our client service, which reconciles every second."""
    database = Database(f"sqlite:///{folder}/client.db")
    migrate(database, MIGRATIONS)
    settings = ClientServiceSettings(
        database_url=f"sqlite:///{folder}/client.db",
        vault_directory=stack.demo.state / "vault",
        vault_entry=CLIENT,
        issuer=stack.auth_url,
        metadata_url=metadata_url,
        api_url=bank_url,
        scope=WORKERS_SCOPE,
        reconcile_schedule="every 1s",
    )
    service: ClientService = create_app(settings).extensions["client_service"]
    return service


def runs_of(service: ClientService) -> list[dict[str, Any]]:
    with service.database.reading() as session:
        return [run_fields(run) for run in session.scalars(select(Run).order_by(Run.due))]


def bank(stack: LocalStack, *arguments: str) -> Any:
    result = stack.cli("resource_server", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


class Log:
    """Everything that this process logs, at the most talkative level."""

    def __enter__(self) -> None:
        self._lines: list[str] = []
        self._handler = logging.Handler(logging.DEBUG)
        self._handler.emit = self._emit  # type: ignore[method-assign]
        self._level = logging.getLogger().level
        logging.getLogger().addHandler(self._handler)
        logging.getLogger().setLevel(logging.DEBUG)

    def __exit__(self, *_error: object) -> None:
        logging.getLogger().removeHandler(self._handler)
        logging.getLogger().setLevel(self._level)

    def _emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"{self._handler.format(record)} {record.__dict__.get('event')}")

    def text(self) -> str:
        return "\n".join(self._lines)


def test_it_stormed(storm: Storm) -> None:
    statuses = Counter(run["status"] for run in storm.runs)
    made = sum(len(payer.made) for payer in storm.payers)
    sent = f"{len(storm.to_issuer)} to the issuer, {len(storm.to_bank)} to the bank"
    errors = Counter(run["error"] for run in storm.runs if run["error"])
    print(f"{sent}; {dict(statuses)}; {made} payments; {len(storm.tokens)} tokens")  # noqa: T201
    print(f"errors: {dict(errors)}")  # noqa: T201

    faults = Counter(one.fault for one in storm.to_bank + storm.to_issuer)
    assert min(faults[kind] for kind in KINDS_OF_FAULTS) > 0
    assert made > 0


def test_every_run_has_an_end_and_each_that_failed_says_why(storm: Storm) -> None:
    assert {run["status"] for run in storm.runs} <= {"succeeded", "failed"}
    assert {run["ended"] is None for run in storm.runs} == {False}
    assert {bool(run["error"]) for run in storm.runs if run["status"] == "failed"} <= {True}


def test_no_run_fails_for_what_may_pass_before_all_tries_are_used_up(storm: Storm) -> None:
    """What is final stays so: a refusal of the credentials, a token refused twice, a redirect."""
    failed = [run for run in storm.runs if run["status"] == "failed"]
    others = [run for run in failed if not run["error"].startswith(FINAL_ANSWERS)]

    assert [run for run in others if not has_used_up_its_tries(run, storm)] == []


def test_a_run_that_fails_is_rare(storm: Storm) -> None:
    failed = [run for run in storm.runs if run["status"] == "failed"]

    assert len(failed) <= max(MOST_FAILED_OF_FEW, MOST_FAILED_SHARE * len(storm.runs))


def has_used_up_its_tries(run: Mapping[str, Any], storm: Storm) -> bool:
    """Tell whether one of its requests was sent as often as its time allowed."""
    sent = [one for one in storm.to_bank + storm.to_issuer if trace_of(one) == run["trace_id"]]
    counts = Counter(one.target for one in sent)
    return max(counts.values(), default=0) >= FEWEST_TRIES


def test_a_read_is_sent_twice_a_try_at_most(storm: Storm) -> None:
    """That is twelve times: each of the six tries once more where its token was refused."""
    runs = {run["trace_id"] for run in storm.runs}
    sent = Counter((trace_of(one), one.target) for one in storm.to_bank if trace_of(one) in runs)

    assert max(sent.values()) <= 2 * MOST_TRIES


def test_no_tick_is_lost(storm: Storm) -> None:
    """Each second from the first run to the last has one of its own, or is merged into one."""
    runs = [run for run in storm.runs if run["job"] == "reconcile"]
    ticks = [(datetime.fromisoformat(run["due"]), run["merged_ticks"]) for run in runs]

    apart = [int((due - before).total_seconds()) for (before, _), (due, _) in pairwise(ticks)]
    assert apart == [merged + 1 for _, merged in ticks[1:]]


def test_every_run_that_succeeded_found_the_account_balanced(storm: Storm) -> None:
    succeeded = [run for run in storm.runs if run["status"] == "succeeded"]

    assert {run["result"]["balanced"] for run in succeeded} == {True}


def test_every_payment_was_made_once(storm: Storm) -> None:
    made = sum(len(payer.made) for payer in storm.payers)

    assert [payer.faults for payer in storm.payers] == [[]] * PAYERS
    assert storm.account["as_of"] == SEEDED + made
    assert storm.account["balance"] == storm.balance_before - made
    assert storm.findings == []


def test_each_source_has_one_token_request_in_flight_at_most(storm: Storm) -> None:
    assert storm.most_in_flight == {PAYERS_SCOPE: 1, WORKERS_SCOPE: 1}


def test_a_payment_is_sent_twice_a_try_at_most(storm: Storm) -> None:
    sent = [one for one in storm.to_bank if one.method == "POST"]

    assert len(sent) <= 2 * sum(payer.tries for payer in storm.payers)


def test_a_run_asks_for_tokens_a_bounded_number_of_times(storm: Storm) -> None:
    """Once before its first read, and once after each that was refused; with all the tries."""
    reads, asked = Counter[str](), Counter[str]()
    for one in storm.to_bank:
        reads[trace_of(one)] += 1
    for one in storm.to_issuer:
        asked[trace_of(one)] += 1
    runs = {run["trace_id"] for run in storm.runs}

    tries_with_discovery = 2 * MOST_TRIES
    assert [
        trace for trace in runs if asked[trace] > tries_with_discovery * (1 + reads[trace])
    ] == []


def trace_of(exchange: Exchange) -> str:
    return exchange.headers.get("traceparent", "-").split("-")[1]


def test_nothing_went_elsewhere_but_what_may_be_known(storm: Storm) -> None:
    assert "/elsewhere" in storm.elsewhere
    assert [secret for secret in {storm.secret, *storm.tokens} if secret in storm.elsewhere] == []


def test_no_token_and_no_secret_was_logged(storm: Storm) -> None:
    assert "arrow 4 passed" in storm.log
    assert [secret for secret in {storm.secret, *storm.tokens} if secret[20:] in storm.log] == []
