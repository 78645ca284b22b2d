import threading
from collections.abc import Mapping
from typing import Any

import pytest

from auth_server.client_authentication import client_keys as module
from auth_server.client_authentication.client_keys import ClientKeys, KeepingRules
from auth_server.client_authentication.jwks_fetch import FetchError
from auth_server.registry import RegisteredClient
from auth_server.scope_policy import ClientRights
from tests.stack.signing_client import SigningClient

URI = "https://client.example/jwks"
RULES = KeepingRules(max_age=300, cooldown=10, outage=3600)
SIGNER = SigningClient("signer", "https://issuer.example")


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


class Source:
    """What stands at the URIs: the same set at each, or an error."""

    def __init__(self, *kids: str) -> None:
        self.fetched: list[str] = []
        self.document: Mapping[str, Any] | None = SIGNER.jwks(*kids)

    def __call__(self, uri: str) -> Mapping[str, Any]:
        self.fetched.append(uri)
        if self.document is None:
            raise FetchError("down")
        return self.document


def client(jwks: str | None = None, jwks_uri: str | None = None) -> RegisteredClient:
    rights = ClientRights({}, None, may_have_id_token=False)
    return RegisteredClient("signer", "private_key_jwt", False, rights, (), jwks, jwks_uri)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source() -> Source:
    return Source("ec")


@pytest.fixture
def keys(source: Source, clock: Clock) -> ClientKeys:
    return ClientKeys(source, RULES, clock)


def finds(keys: ClientKeys, kid: str | None = "ec", algorithm: str = "ES256") -> bool:
    return keys.key_of(client(jwks_uri=URI), kid, algorithm) is not None


def test_keys_at_a_uri_are_fetched_once_and_kept(
    keys: ClientKeys, source: Source, clock: Clock
) -> None:
    found = [finds(keys), finds(keys, None)]
    clock.time += RULES.max_age - 1
    assert [*found, finds(keys)] == [True, True, True]
    assert source.fetched == [URI]


def test_keys_past_their_age_are_fetched_again(
    keys: ClientKeys, source: Source, clock: Clock
) -> None:
    finds(keys)
    clock.time += RULES.max_age
    source.document = SIGNER.jwks("rsa")
    assert [finds(keys), finds(keys, "rsa", "RS256")] == [False, True]
    assert source.fetched == [URI, URI]


def test_a_new_key_works_at_once(keys: ClientKeys, source: Source) -> None:
    finds(keys)
    source.document = SIGNER.jwks("ec", "ed")
    assert finds(keys, "ed", "Ed25519") is True


def test_made_up_kids_fetch_once_in_a_cool_down(
    keys: ClientKeys, source: Source, clock: Clock
) -> None:
    finds(keys)
    assert [finds(keys, "made"), finds(keys, "up")] == [False, False]
    assert source.fetched == [URI, URI]
    clock.time += RULES.cooldown
    finds(keys, "again")
    assert source.fetched == [URI, URI, URI]


def test_a_known_key_works_on_while_it_cannot_be_fetched_again(
    keys: ClientKeys, source: Source, clock: Clock
) -> None:
    finds(keys)
    source.document = None
    clock.time += RULES.max_age + RULES.outage - 1
    assert finds(keys) is True
    clock.time += 1
    assert finds(keys) is False


def test_a_bad_set_does_not_replace_a_good_one(
    keys: ClientKeys, source: Source, clock: Clock
) -> None:
    finds(keys)
    source.document = {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}
    clock.time += RULES.max_age
    assert finds(keys) is True


def test_a_failing_server_is_asked_once_in_a_cool_down(
    keys: ClientKeys, source: Source, clock: Clock
) -> None:
    source.document = None
    assert [finds(keys), finds(keys)] == [False, False]
    assert source.fetched == [URI]
    clock.time += RULES.cooldown
    source.document = SIGNER.jwks("ec")
    assert finds(keys) is True


def test_who_needs_the_first_keys_waits_for_the_one_who_fetches(clock: Clock) -> None:
    asked, answer, document = threading.Event(), threading.Event(), SIGNER.jwks("ec")
    fetched: list[str] = []

    def fetch(uri: str) -> Mapping[str, Any]:
        fetched.append(uri)
        asked.set()
        answer.wait()
        return document

    keys = ClientKeys(fetch, RULES, clock)
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(finds(keys))) for _ in range(4)]
    for thread in threads:
        thread.start()
    asked.wait()
    answer.set()
    for thread in threads:
        thread.join()
    assert (found, fetched) == ([True] * 4, [URI])


def test_who_has_a_key_does_not_wait_for_the_one_who_fetches(clock: Clock) -> None:
    asked, answer, document = threading.Event(), threading.Event(), SIGNER.jwks("ec")
    answer.set()

    def fetch(_uri: str) -> Mapping[str, Any]:
        asked.set()
        answer.wait()
        return document

    keys = ClientKeys(fetch, RULES, clock)
    finds(keys)
    clock.time += RULES.max_age
    asked.clear()
    answer.clear()
    fetching = threading.Thread(target=finds, args=(keys,))
    fetching.start()
    asked.wait()
    assert finds(keys) is True
    answer.set()
    fetching.join()


def test_of_too_many_uris_the_one_unused_for_longest_is_forgotten(
    keys: ClientKeys, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_URIS", 2)
    uris = [f"https://client.example/{number}" for number in (1, 2, 1, 3, 1, 2)]
    for uri in uris:
        keys.key_of(client(jwks_uri=uri), "ec", "ES256")
    assert [uri[-1] for uri in source.fetched] == ["1", "2", "3", "2"]


def test_a_client_without_keys_has_none(keys: ClientKeys) -> None:
    assert keys.key_of(client(), "ec", "ES256") is None


def test_stored_keys_that_are_not_taken_any_more_are_none_and_a_warning(
    keys: ClientKeys, caplog: pytest.LogCaptureFixture
) -> None:
    assert keys.key_of(client(jwks='{"keys": []}'), "ec", "ES256") is None
    assert "the keys of signer cannot be used" in caplog.text
