"""The issuer rotates its keys, dies, comes back and serves garbage: no good token is refused.

A bank of several processes is asked without a pause, by several threads and with a new token each
time, while its issuer goes through all that. A token is good whose key was published for longer
than a bank keeps keys before the first token of it, and until the last one has ended.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.conformance.bank_requests import INVALID_TOKEN, read_with, verdict_on
from tests.conformance.local_servers import local_resource_server
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import JWKS_PATH, METADATA_PATH, Answer, OwnIssuer, signing_keys

WORKERS = 3
THREADS = 4
KEPT_SECONDS = 1
"""How long the bank of these tests keeps keys."""
PATIENCE_SECONDS = 60


@dataclass
class BankUnderLoad:
    """A bank that is asked without a pause, and what it answered."""

    server: ResourceServerUnderTest
    log: Path
    kid: str = "ec"
    """The key that the issuer signs with now."""

    @property
    def issuer(self) -> OwnIssuer:
        return self.server.issuer

    @contextmanager
    def asked(self) -> Iterator[Counter[int]]:
        """Ask without a pause; count the answers by their status."""
        answers: Counter[int] = Counter()
        over = Event()
        threads = [Thread(target=self._ask_until, args=(over, answers)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield answers
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _ask_until(self, over: Event, answers: Counter[int]) -> None:
        while not over.is_set():
            answers[read_with(self.server, self.issuer.token(self.kid)).status] += 1

    def wait_until_it_has_fetched(self) -> None:
        """Return when the bank has asked for the keys as often as it has processes, and again."""
        fetches = self.issuer.fetches[JWKS_PATH] + 2 * WORKERS
        wait_until(lambda: self.issuer.fetches[JWKS_PATH] >= fetches)

    def wait_until_it_cannot_fetch(self) -> None:
        """Return when it has logged as many failures as it has processes."""
        failures = self._failures() + WORKERS
        wait_until(lambda: self._failures() >= failures)

    def _failures(self) -> int:
        return self.log.read_text().count("cannot fetch the keys")


def wait_until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankUnderLoad]:
    """The bank, once all its processes have keys; each test leaves its issuer well."""
    folder = tmp_path_factory.mktemp("bank")
    settings = {
        "RESOURCE_SERVER_WORKERS": str(WORKERS),
        "RESOURCE_SERVER_KEY_CACHE_MIN_SECONDS": str(KEPT_SECONDS),
        "RESOURCE_SERVER_KEY_CACHE_MAX_SECONDS": str(KEPT_SECONDS),
        "RESOURCE_SERVER_KEY_COOLDOWN_SECONDS": "1",
        "RESOURCE_SERVER_ISSUER_TIMEOUT_SECONDS": "0.5",
    }
    with local_resource_server(folder, **settings) as server:
        running = BankUnderLoad(server, folder / "logs" / "resource_server.log")
        with running.asked():
            running.wait_until_it_has_fetched()
        yield running


def test_while_the_issuer_rotates_its_keys_no_good_token_is_refused(bank: BankUnderLoad) -> None:
    with bank.asked() as answers:
        old, bank.kid = bank.kid, rotated_key(bank)
        bank.wait_until_it_has_fetched()
        bank.issuer.published.remove(old)  # gone: no token of it is alive
        bank.wait_until_it_has_fetched()

    assert set(answers) == {200}


def rotated_key(bank: BankUnderLoad) -> str:
    """Publish a key, and return its kid when no bank can be without it."""
    kid = f"generation-{len(bank.issuer.keys)}"
    bank.issuer.add_key(kid)
    time.sleep(2 * KEPT_SECONDS)  # the issuer's own rule: a key is pending before it is active
    return kid


def test_while_the_issuer_is_down_no_good_token_is_refused(bank: BankUnderLoad) -> None:
    with bank.asked() as answers, down(bank.issuer):
        bank.wait_until_it_cannot_fetch()
        bank.wait_until_it_cannot_fetch()

    assert set(answers) == {200}


def test_when_the_issuer_comes_back_no_good_token_is_refused(bank: BankUnderLoad) -> None:
    with bank.asked() as answers:
        with down(bank.issuer):
            bank.wait_until_it_cannot_fetch()
        bank.wait_until_it_has_fetched()
        bank.kid = rotated_key(bank)
        bank.wait_until_it_has_fetched()

    assert set(answers) == {200}


@contextmanager
def down(issuer: OwnIssuer) -> Iterator[None]:
    issuer.stop()
    try:
        yield
    finally:
        issuer.restart()


def with_key(**changes: Any) -> bytes:
    """Return a JWK Set that has all the good keys, and one that spoils it."""
    good = [key.public_jwk() for key in signing_keys().values()]
    return json.dumps({"keys": [*good, signing_keys()["ec"].public_jwk(**changes)]}).encode()


GARBAGE = {
    "an error": {"*": Answer(status=500)},
    "a login page": {"*": Answer(body=b"<html>", headers={"Content-Type": "text/html"})},
    "another issuer's metadata": {METADATA_PATH: Answer(body=b'{"issuer": "http://evil.example"}')},
    "no keys": {JWKS_PATH: Answer(body=b'{"keys": []}')},
    "a private key": {JWKS_PATH: Answer(body=with_key(kid="x", d="AQAB"))},
    "a kid twice": {JWKS_PATH: Answer(body=with_key())},
    "a megabyte": {JWKS_PATH: Answer(body=b" " * 1_000_000 + b'{"keys": []}')},
    "drops": {JWKS_PATH: Answer(body=b" " * 100, seconds_between_bytes=0.1)},
    "silence": {"*": Answer(wait_seconds=60)},
}


def test_while_the_issuer_serves_garbage_no_good_token_is_refused(bank: BankUnderLoad) -> None:
    answered = {}
    for name, answer in GARBAGE.items():
        bank.issuer.answers.update(answer)
        with bank.asked() as answers:
            bank.wait_until_it_cannot_fetch()
        bank.issuer.answers.clear()
        answered[name] = set(answers)

    assert answered == {name: {200} for name in GARBAGE}


def test_a_key_that_the_issuer_takes_back_is_refused_once_the_kept_ones_have_ended(
    bank: BankUnderLoad,
) -> None:
    bank.issuer.published.remove("ed")
    try:
        with bank.asked() as answers:
            bank.wait_until_it_has_fetched()
            bank.wait_until_it_has_fetched()
        of_the_key_taken_back = {
            verdict_on(bank.server, bank.issuer.token("ed")) for _ in range(4 * WORKERS)
        }
    finally:
        bank.issuer.published.append("ed")

    assert set(answers) == {200}
    assert of_the_key_taken_back == {INVALID_TOKEN}
