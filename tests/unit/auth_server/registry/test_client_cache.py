import threading

import pytest

from auth_server.registry import RegisteredClient
from auth_server.registry.bounded import Bounded
from auth_server.registry.client_cache import ClientCache
from auth_server.scope_policy import ClientRights

RIGHTS = ClientRights({"urn:bank": ("Read",)}, "urn:bank", may_have_id_token=True)
NO_RIGHTS = ClientRights({}, None, may_have_id_token=True)


def client(
    name: str, *, is_disabled: bool = False, rights: ClientRights = RIGHTS
) -> RegisteredClient:
    return RegisteredClient(name, "client_secret_basic", is_disabled, rights, ())


def test_a_client_that_was_read_is_kept() -> None:
    cache = ClientCache(client, 5, lambda: 1000.0)
    read = cache.read("worker")
    assert cache.kept("worker") is read


def test_nobody_is_kept_who_was_not_read() -> None:
    assert ClientCache(client, 5, lambda: 1000.0).kept("worker") is None


@pytest.mark.parametrize(
    "found",
    [None, client("worker", is_disabled=True), client("worker", rights=NO_RIGHTS)],
    ids=["unknown", "disabled", "without a scope"],
)
def test_a_client_that_may_have_no_token_is_not_kept(found: RegisteredClient | None) -> None:
    cache = ClientCache(lambda _: found, 5, lambda: 1000.0)
    assert (cache.read("worker"), cache.kept("worker")) == (found, None)


def test_a_client_that_is_gone_is_forgotten() -> None:
    answers = [client("worker"), None]
    cache = ClientCache(lambda _: answers.pop(0), 5, lambda: 1000.0)
    cache.read("worker")
    cache.read("worker")
    assert cache.kept("worker") is None


def test_0_seconds_keep_nobody() -> None:
    cache = ClientCache(client, 0, lambda: 1000.0)
    cache.read("worker")
    assert cache.kept("worker") is None


def test_a_client_is_kept_from_before_it_was_read() -> None:
    times = [1000.0]

    def slow_read(client_id: str) -> RegisteredClient:
        times[0] += 4
        return client(client_id)

    cache = ClientCache(slow_read, 5, lambda: times[0])
    cache.read("worker")
    kept = cache.kept("worker")
    times[0] += 1
    assert (kept is not None, cache.kept("worker")) == (True, None)


def test_however_many_clients_ask_a_bounded_number_is_kept() -> None:
    cache = ClientCache(client, 5, lambda: 1000.0, size=3)
    names = [f"client-{number}" for number in range(5)]
    for name in names:
        cache.read(name)
    assert [cache.kept(name) is not None for name in names] == [False, False, True, True, True]


def test_what_was_put_in_again_stays_longest() -> None:
    held: Bounded[str, int] = Bounded(2)
    for key in ("a", "b", "a", "c"):
        held.put(key, 1)
    assert [held.get(key) for key in ("a", "b", "c")] == [1, None, 1]


def test_threads_share_it_within_its_bounds() -> None:
    held: Bounded[int, int] = Bounded(50)

    def use(start: int) -> None:
        for key in range(start, start + 2000):
            held.put(key, key)
            assert held.get(key) in (key, None)
            held.discard(key - 7)

    threads = [threading.Thread(target=use, args=(number * 500,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) <= 50
