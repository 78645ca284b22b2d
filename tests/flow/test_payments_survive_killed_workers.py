"""200 payments at once over the last cents of an account, while the bank's workers are killed."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
import requests
from sqlalchemy import select

from resource_server.ledger import locked_accounts, post_transfer
from resource_server.ledger_check import BookCheck
from resource_server.models import Account, AccountAccess, Payment, Transfer
from shared.database import Database
from tests.conformance.local_servers import local_resource_server
from tests.stack.postgres import PostgresDatabase

PAYMENTS = 200
CENTS = 100
ANSWERS_BETWEEN_KILLS = 60
SECONDS_BETWEEN_KILLS = 1.5
CUT_OFF_AT_LEAST = 5
TIMEOUT_SECONDS = 10
PATIENCE_SECONDS = 60
PAUSE_SECONDS = 0.05

Answer = tuple[int, bytes]


@dataclass
class Bank:
    """A running bank, one account in it with `CENTS`, and the process that starts its workers."""

    url: str
    token: str = field(repr=False)
    pid_file: Path
    database: Database
    killed: set[int] = field(default_factory=set)
    cut_off: set[int] = field(default_factory=set)
    """The payments whose first answer never came."""
    _answers: Iterator[int] = field(default_factory=lambda: count(1))

    def pay(self, number: int) -> Answer:
        """Pay a cent under the key of ``number``; ask until there is an answer."""
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": f"cent-{number}"}
        order = {
            "credit_account_id": "demo-counterparty",
            "amount": 1,
            "currency": "EUR",
            "reference": f"cent {number}",
        }
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                answer = requests.post(
                    f"{self.url}/payments", json=order, headers=headers, timeout=TIMEOUT_SECONDS
                )
            except requests.RequestException:  # no answer came, or not the whole of it
                self.cut_off.add(number)
                time.sleep(PAUSE_SECONDS)
                continue
            if answer.status_code != 503:
                self._kill_now_and_then()
                return answer.status_code, answer.content
            time.sleep(PAUSE_SECONDS)
        raise AssertionError(f"no answer to payment {number}")

    def kill_its_workers(self) -> None:
        """Kill whoever works now; gunicorn's first process starts others."""
        master = int(self.pid_file.read_text())
        children = Path(f"/proc/{master}/task/{master}/children").read_text()
        for worker in {int(child) for child in children.split()} - self.killed:
            os.kill(worker, signal.SIGKILL)
            self.killed.add(worker)

    def kill_until_payments_are_cut_off(self) -> None:
        """Kill the workers, and those that come after them, until some payments had no answer."""
        end = time.monotonic() + PATIENCE_SECONDS
        next_kill = time.monotonic() + SECONDS_BETWEEN_KILLS
        while len(self.cut_off) < CUT_OFF_AT_LEAST:
            assert time.monotonic() < end, "no payment was under way"
            time.sleep(PAUSE_SECONDS)
            if time.monotonic() > next_kill:
                self.kill_its_workers()
                next_kill = time.monotonic() + SECONDS_BETWEEN_KILLS

    def _kill_now_and_then(self) -> None:
        if next(self._answers) % ANSWERS_BETWEEN_KILLS == 0:
            self.kill_its_workers()


@pytest.fixture(params=["sqlite", "postgresql"])
def bank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bank]:
    database, settings = Database(f"sqlite:///{tmp_path / 'resource_server.db'}"), {}
    if request.param == "postgresql":
        empty: PostgresDatabase = request.getfixturevalue("postgres_database")
        database = Database(empty.url, empty.password)
        settings["RESOURCE_SERVER_DATABASE_URL"] = empty.url
        secret = tmp_path / "secrets" / "resource_server_database_password"
        secret.parent.mkdir()
        secret.write_text(empty.password.get_secret_value())
    with local_resource_server(tmp_path, RESOURCE_SERVER_WORKERS="3", **settings) as running:
        give_the_client_its_cents(database, running.issuer.client_id)
        url = running.url.rpartition("/")[0]
        pid_file = tmp_path / "run" / "resource_server.pid"
        yield Bank(url, running.issuer.token(), pid_file, database)
    database.engine.dispose()


def give_the_client_its_cents(database: Database, client_id: str) -> None:
    with database.writing() as session:
        session.add(Account(id="cents", owner="C", currency="EUR", lowest_balance=0))
        session.flush()
        session.add(AccountAccess(client_id=client_id, account_id="cents", is_default=True))
        post_transfer(
            session,
            debit_account_id="demo-counterparty",
            credit_account_id="cents",
            amount=CENTS,
            currency="EUR",
            reference="all there is",
            booked_at=datetime(2026, 3, 1, tzinfo=UTC),
        )


def test_each_acknowledged_payment_is_there_once_and_the_book_balances(bank: Bank) -> None:
    with ThreadPoolExecutor(max_workers=PAYMENTS) as pool:
        with bank.database.writing() as session:
            locked_accounts(session, "cents")  # so no payment comes further than half its way
            coming = pool.map(bank.pay, range(PAYMENTS))
            bank.kill_until_payments_are_cut_off()
        answers = list(coming)
        again = list(pool.map(bank.pay, range(PAYMENTS)))

    with bank.database.reading() as session:
        findings = list(BookCheck(session).findings())
        balance = session.get_one(Account, "cents").balance
        booked = session.execute(
            select(Payment.id, Transfer.reference).join(
                Transfer, Payment.transfer_id == Transfer.id
            )
        ).all()
    acknowledged = {
        (json.loads(body)["payment_id"], f"cent {number}")
        for number, (status, body) in enumerate(answers)
        if status == 201
    }
    assert Counter(status for status, _ in answers) == {201: CENTS, 409: PAYMENTS - CENTS}
    assert again == answers
    assert (findings, balance) == ([], 0)
    assert sorted(map(tuple, booked)) == sorted(acknowledged)
