"""Failures counted in Valkey itself, in a container, also where it dies in between."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Thread
from typing import cast

import pytest

from auth_server.app import MIGRATIONS, create_app
from auth_server.registry import Registry
from auth_server.throttling.failure_counts import Failure, Limits
from auth_server.throttling.memory import CountsInMemory
from auth_server.throttling.valkey import PAUSE_SECONDS, CountsInValkey, valkey_client
from demo.compose import why_no_containers
from shared.database import Database, migrate
from tests.stack.valkey import PASSWORD, ValkeyServer, valkey_server
from tests.unit.auth_server.running import BANK, Running, settings_for
from tests.unit.auth_server.running import Clock as ServerClock

LIMITS = Limits(per_client=3, per_address=5, window_seconds=60)
FAILURE = Failure("address", "worker")


@pytest.fixture(scope="module")
def started() -> Iterator[ValkeyServer]:
    problem = why_no_containers()
    if problem:
        pytest.skip(f"Valkey cannot run in a container: {problem}")
    with valkey_server() as server:
        yield server


@pytest.fixture
def server(started: ValkeyServer) -> ValkeyServer:
    """The server, running and empty."""
    with started.client() as client:
        client.flushall()
    return started


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class Nowhere:
    """Takes no count: a test that comes here was not counted by the server."""

    def count(self, failure: Failure) -> float:
        raise AssertionError(failure)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(server: ValkeyServer, clock: Clock) -> Iterator[Callable[..., CountsInValkey]]:
    """Make what one process of the authorization server counts with."""
    with ExitStack() as opened:

        def make(limits: Limits = LIMITS) -> CountsInValkey:
            client = opened.enter_context(closing(valkey_client(server.url, PASSWORD)))
            memory = CountsInMemory(limits, clock)
            return CountsInValkey(client, limits, instead=memory, now=clock)

        yield make


def test_processes_count_together(process: Callable[..., CountsInValkey]) -> None:
    one, other = process(), process()
    waits = [counts.count(FAILURE) for counts in (one, other, one, other, one)]
    assert [wait > 0 for wait in waits] == [False, False, False, True, True]


def test_past_the_limit_the_wait_is_the_rest_of_the_window(
    server: ValkeyServer, process: Callable[..., CountsInValkey]
) -> None:
    counts = process()
    for _ in range(3):
        counts.count(FAILURE)
    with server.client() as client:
        client.pexpire("throttling:{address}:worker", 20_000)
    assert 19 < counts.count(FAILURE) <= 20


def test_a_window_ends_whatever_came_meanwhile(process: Callable[..., CountsInValkey]) -> None:
    counts = process(Limits(per_client=1, per_address=1000, window_seconds=1))
    counts.count(FAILURE)
    end = time.monotonic() + 10
    while counts.count(FAILURE) > 0:
        assert time.monotonic() < end, "a flood made its window longer"
        time.sleep(0.02)


def test_every_count_has_an_end(
    server: ValkeyServer, process: Callable[..., CountsInValkey]
) -> None:
    counts = process()
    for number in range(20):
        counts.count(Failure(f"address {number}", f"worker {number}"))
    with server.client() as client:
        ends = [cast("int", client.ttl(key)) for key in client.scan_iter()]
    assert len(ends) == 40
    assert all(0 < end <= 60 for end in ends)


def test_one_address_makes_only_so_many_counts(
    server: ValkeyServer, process: Callable[..., CountsInValkey]
) -> None:
    counts = process()
    for number in range(100):
        counts.count(Failure("address", f"made up {number}"))
    with server.client() as client:
        assert client.dbsize() == 1 + 5


def test_threads_of_two_processes_lose_no_count(process: Callable[..., CountsInValkey]) -> None:
    limits = Limits(per_client=1000, per_address=100, window_seconds=60)
    processes = [process(limits), process(limits)]
    waits: list[float] = []

    def fail_often(counts: CountsInValkey) -> None:
        waits.extend(counts.count(FAILURE) for _ in range(50))

    threads = [Thread(target=fail_often, args=(counts,)) for counts in processes * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wait == 0 for wait in waits) == 100


def test_killed_in_between_memory_takes_over_and_gives_back(
    server: ValkeyServer,
    process: Callable[..., CountsInValkey],
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "auth_server.throttling.valkey")
    counts = process()
    before = [counts.count(FAILURE) for _ in range(4)]
    server.kill()
    dead = [counts.count(FAILURE) for _ in range(4)]
    server.start()
    clock.time += PAUSE_SECONDS
    after = [counts.count(FAILURE) for _ in range(4)]

    def passes(waits: list[float]) -> list[bool]:
        return [wait == 0 for wait in waits]

    assert passes(before) == passes(dead) == passes(after) == [True, True, True, False]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_server_that_stands_still_costs_one_timeout(
    server: ValkeyServer, process: Callable[..., CountsInValkey]
) -> None:
    counts = process()
    counts.count(FAILURE)
    server.container.pause()
    try:
        started = time.monotonic()
        waits = [counts.count(FAILURE) for _ in range(1000)]
        took = time.monotonic() - started
    finally:
        server.container.unpause()
    assert [wait > 0 for wait in waits[:4]] == [False, False, False, True]
    assert took < 5


def test_a_user_who_may_do_what_the_readme_says_is_enough(
    server: ValkeyServer, clock: Clock
) -> None:
    with server.client() as client:
        client.acl_setuser(
            "counter",
            enabled=True,
            passwords=[f"+{PASSWORD.get_secret_value()}"],
            commands=["+evalsha", "+script|load", "+incr", "+pttl", "+pexpire"],
            keys=["throttling:*"],
        )
        client.script_flush()
    url = server.url.replace("://", "://counter@")
    with closing(valkey_client(url, PASSWORD)) as client:
        counts = CountsInValkey(client, LIMITS, instead=Nowhere(), now=clock)
        waits = [counts.count(FAILURE) for _ in range(4)]
    assert [wait > 0 for wait in waits] == [False, False, False, True]


def test_a_wrong_password_is_an_outage(server: ValkeyServer, clock: Clock) -> None:
    with closing(valkey_client(server.url, None)) as client:
        counts = CountsInValkey(client, LIMITS, instead=CountsInMemory(LIMITS, clock), now=clock)
        waits = [counts.count(FAILURE) for _ in range(4)]
    assert [wait > 0 for wait in waits] == [False, False, False, True]


@pytest.fixture
def replicas(server: ValkeyServer, tmp_path: Path) -> Iterator[list[Running]]:
    """Two authorization servers on one database, and a client that both know."""
    settings = settings_for(
        tmp_path / "auth_server.db",
        throttling_url=server.url,
        throttling_password=PASSWORD,
        throttling_failures_per_client=4,
    )
    database = Database(settings.database_url)
    migrate(database, MIGRATIONS)
    registry = Registry(database)
    registry.resources.add(BANK, ["Read"], is_default=True)
    secret = registry.clients.add(
        "worker", authentication_method="client_secret_basic", may_have_id_token=False
    ).secret
    database.engine.dispose()
    made = [Running(create_app(settings, ServerClock()), ServerClock(), secret) for _ in range(2)]
    yield made
    for replica in made:
        replica.parts.database.engine.dispose()


def fail_at(replica: Running) -> int:
    return replica.ask(authorization=replica.basic(secret="wrong")).status_code


def test_replicas_slow_down_together_and_go_on_without_the_server(
    server: ValkeyServer, replicas: list[Running]
) -> None:
    together = [fail_at(replica) for replica in replicas * 3]
    granted = [replica.ask().status_code for replica in replicas]
    server.kill()
    try:
        alone = [[fail_at(replica) for _ in range(6)] for replica in replicas]
        granted += [replica.ask().status_code for replica in replicas]
    finally:
        server.start()
    assert together == [401] * 4 + [429] * 2
    assert alone == [[401] * 4 + [429] * 2] * 2
    assert granted == [200] * 4
