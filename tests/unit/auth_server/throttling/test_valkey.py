import itertools
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pydantic import SecretStr
from valkey import exceptions as valkey_errors

from auth_server.throttling import failure_counts
from auth_server.throttling.failure_counts import Failure, Limits
from auth_server.throttling.memory import CountsInMemory
from auth_server.throttling.valkey import (
    PAUSE_SECONDS,
    TIMEOUT_SECONDS,
    CountsInValkey,
    valkey_client,
)
from demo.processes import ROOT
from tests.stack.local_stack import free_ports
from tests.unit.auth_server.running import Running, settings_for
from tests.unit.auth_server.throttling.test_memory import Clock

LIMITS = Limits(per_client=3, per_address=5, window_seconds=60)
FAILURE = Failure("address", "worker")
LOGGER = "auth_server.throttling.valkey"


class FakeValkey:
    """A server that answers ``milliseconds``, or fails; it remembers what it was asked."""

    def __init__(self) -> None:
        self.milliseconds = 0
        self.error: Exception | None = None
        self.hangs_until: Event | None = None
        self.asked: list[tuple[list[str], tuple[int, ...]]] = []

    def register_script(self, _script: str) -> Callable[..., int]:
        def run(keys: list[str], args: tuple[int, ...]) -> int:
            self.asked.append((keys, args))
            if self.hangs_until is not None:
                self.hangs_until.wait(timeout=20)
            if self.error is not None:
                raise self.error
            return self.milliseconds

        return run


@pytest.fixture
def fake() -> FakeValkey:
    return FakeValkey()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counts(fake: FakeValkey, clock: Clock) -> CountsInValkey:
    return counts_in(fake, clock)


def counts_in(client: Any, clock: Clock) -> CountsInValkey:
    return CountsInValkey(client, LIMITS, instead=CountsInMemory(LIMITS, clock), now=clock)


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records if record.name == LOGGER]


def test_the_wait_is_what_the_server_says(counts: CountsInValkey, fake: FakeValkey) -> None:
    fake.milliseconds = 1500
    assert counts.count(FAILURE) == 1.5


def test_address_and_client_are_counted_in_one_request(
    counts: CountsInValkey, fake: FakeValkey
) -> None:
    counts.count(FAILURE)
    keys = ["throttling:{address}", "throttling:{address}:worker"]
    assert fake.asked == [(keys, (60_000, 5, 3))]


def test_without_a_client_the_address_is_counted_alone(
    counts: CountsInValkey, fake: FakeValkey
) -> None:
    counts.count(Failure("address", None))
    assert fake.asked[0][0] == ["throttling:{address}"]


@pytest.mark.parametrize(
    "error",
    [
        valkey_errors.ConnectionError(),
        valkey_errors.TimeoutError(),
        valkey_errors.AuthenticationError(),
        valkey_errors.ResponseError(),
        OSError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_where_the_server_fails_memory_counts(
    counts: CountsInValkey, fake: FakeValkey, error: Exception
) -> None:
    fake.error = error
    assert [counts.count(FAILURE) for _ in range(4)] == [0, 0, 0, 60]


def test_a_server_that_fails_is_left_alone_for_a_while(
    counts: CountsInValkey, fake: FakeValkey, clock: Clock
) -> None:
    fake.error = valkey_errors.ConnectionError()
    for _ in range(100):
        counts.count(FAILURE)
    assert len(fake.asked) == 1
    clock.time += PAUSE_SECONDS
    for _ in range(100):
        counts.count(FAILURE)
    assert len(fake.asked) == 2


def test_a_server_that_comes_back_counts_again(
    counts: CountsInValkey, fake: FakeValkey, clock: Clock
) -> None:
    fake.error = valkey_errors.ConnectionError()
    counts.count(FAILURE)
    fake.error, fake.milliseconds = None, 7000
    clock.time += PAUSE_SECONDS
    assert [counts.count(FAILURE) for _ in range(3)] == [7, 7, 7]


def test_an_outage_is_logged_once_and_its_end_too(
    counts: CountsInValkey, fake: FakeValkey, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fake.error = valkey_errors.ConnectionError()
    for _ in range(5):
        counts.count(FAILURE)
        clock.time += PAUSE_SECONDS
    fake.error = None
    counts.count(FAILURE)
    counts.count(FAILURE)
    assert levels(caplog) == ["WARNING", "INFO"]


def test_after_the_pause_one_thread_tries_for_all(
    counts: CountsInValkey, fake: FakeValkey, clock: Clock
) -> None:
    fake.error = valkey_errors.ConnectionError()
    counts.count(FAILURE)
    clock.time += PAUSE_SECONDS
    fake.hangs_until = Event()
    with ThreadPoolExecutor(max_workers=8) as threads:
        counting = [threads.submit(counts.count, FAILURE) for _ in range(8)]
        # All but the one that tries are answered while it waits.
        answered = list(itertools.islice(as_completed(counting, timeout=10), 7))
        asked = len(fake.asked)
        fake.hangs_until.set()
    assert (len(answered), asked, len(fake.asked)) == (7, 2, 2)


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port at which connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def waits_at(port: int, clock: Clock) -> list[float]:
    """Return what is to be waited after each of four failures where the server is at ``port``."""
    with closing(valkey_client(f"valkey://127.0.0.1:{port}", None)) as client:
        counts = counts_in(client, clock)
        return [counts.count(FAILURE) for _ in range(4)]


def test_a_server_that_hangs_is_given_up(silent_server: int, clock: Clock) -> None:
    assert waits_at(silent_server, clock) == [0, 0, 0, 60]


def test_a_server_that_is_not_there_is_given_up(clock: Clock) -> None:
    assert waits_at(free_ports(1)[0], clock) == [0, 0, 0, 60]


def test_the_client_waits_shortly_and_has_the_password() -> None:
    client = valkey_client("redis://auth@cache.example:6380/3", SecretStr("s3cret"))
    options = client.connection_pool.connection_kwargs
    assert options["socket_timeout"] == options["socket_connect_timeout"] == TIMEOUT_SECONDS
    assert (options["host"], options["port"], options["db"]) == ("cache.example", 6380, 3)
    assert (options["username"], options["password"]) == ("auth", "s3cret")


@pytest.mark.parametrize("scheme", ["valkeys", "rediss"])
def test_with_tls_the_name_in_the_certificate_is_checked(scheme: str) -> None:
    client = valkey_client(f"{scheme}://cache.example", None)
    connection = client.connection_pool.make_connection()
    assert (connection.check_hostname, connection.cert_reqs.name) == (True, "CERT_REQUIRED")


def test_the_password_is_in_no_representation(clock: Clock) -> None:
    client = valkey_client("valkey://cache.example", SecretStr("s3cret"))
    shown = f"{client!r} {client.connection_pool!r} {counts_in(client, clock)!r}"
    assert "s3cret" not in shown


def test_with_an_url_failures_are_counted_there() -> None:
    settings = settings_for(Path("unused.db"), throttling_url="valkey://127.0.0.1:1")
    assert isinstance(failure_counts(settings), CountsInValkey)


def test_without_an_url_the_package_of_valkey_is_not_even_imported() -> None:
    program = "import sys; import auth_server.app; print('valkey' in sys.modules)"
    printed = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True)
    assert printed == "False\n"


def test_a_success_never_asks_the_server(
    make: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeValkey()
    monkeypatch.setattr("auth_server.throttling.valkey.valkey_client", lambda *_: fake)
    server = make(throttling_url="valkey://127.0.0.1:1")
    statuses = [server.ask().status_code, server.ask(authorization="Basic eDp5").status_code]
    assert (statuses, len(fake.asked)) == ([200, 401], 1)
