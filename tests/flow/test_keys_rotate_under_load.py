"""Keys are rotated and revoked while clients get tokens and spend them at the bank."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import requests
from cryptography.fernet import Fernet
from joserfc.jws import extract_compact

from demo.processes import write_whole
from tests.stack import RegisteredClient
from tests.stack.local_stack import LocalStack, local_stack, register_client

TIMEOUT_SECONDS = 15
DEADLINE_SECONDS = 60
CLIENTS_AT_ONCE = 3


@pytest.fixture(scope="module")
def quick_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A system in which a key is known everywhere after three seconds."""
    stack = local_stack(
        tmp_path_factory.mktemp("a stack of quick keys"),
        AUTH_SERVER_METADATA_MAX_AGE_SECONDS="1",
        AUTH_SERVER_KEY_RELOAD_SECONDS="1",
        AUTH_SERVER_KEY_CLOCK_SKEW_SECONDS="1",
        RESOURCE_SERVER_KEY_CACHE_MIN_SECONDS="1",
    )
    try:
        stack.demo.up()
        yield stack
    finally:
        stack.demo.down()


@dataclass
class StrictResourceServer:
    """Keeps the JWKS for its `max-age` and asks nobody about a key that it does not know."""

    stack: LocalStack
    kids: frozenset[str] = frozenset()
    kept_until: float = 0

    def knows(self, kid: str) -> bool:
        if time.monotonic() >= self.kept_until:
            answer = requests.get(f"{self.stack.auth_url}/oidc/jwks", timeout=TIMEOUT_SECONDS)
            self.kids = frozenset(jwk["kid"] for jwk in answer.json()["keys"])
            max_age = int(answer.headers["Cache-Control"].rpartition("max-age=")[2])
            self.kept_until = time.monotonic() + max_age
        return kid in self.kids


@dataclass
class Load:
    """Clients that get a token and spend it, over and over, until they are told to stop."""

    stack: LocalStack
    client: RegisteredClient
    stop: threading.Event = field(default_factory=threading.Event)
    kids: set[str] = field(default_factory=set)
    refused: list[object] = field(default_factory=list)

    def has_seen(self, keys: int) -> bool:
        return len(self.kids) >= keys

    def run(self) -> None:
        strict = StrictResourceServer(self.stack)
        while not self.stop.is_set():
            try:
                self._get_and_spend(strict)
            except requests.RequestException as error:
                self.refused.append(error)

    def _get_and_spend(self, strict: StrictResourceServer) -> None:
        token = token_of(self.stack, self.client)
        kid = kid_of(token)
        status = spend(self.stack, token)
        if status != 200 or not strict.knows(kid):
            self.refused.append((status, kid, strict.kids))
        self.kids.add(kid)


@contextmanager
def under_load(stack: LocalStack, client: RegisteredClient) -> Iterator[Load]:
    load = Load(stack, client)
    threads = [threading.Thread(target=load.run) for _ in range(CLIENTS_AT_ONCE)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop.set()
        for thread in threads:
            thread.join(timeout=TIMEOUT_SECONDS)


def token_of(stack: LocalStack, client: RegisteredClient) -> str:
    answer = requests.post(
        f"{stack.auth_url}/oidc/token",
        data={"grant_type": "client_credentials"},
        auth=(client.client_id, client.client_secret),
        timeout=TIMEOUT_SECONDS,
    )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def spend(stack: LocalStack, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{stack.bank_url}/account"
    return requests.get(url, headers=headers, timeout=TIMEOUT_SECONDS).status_code


def kid_of(token: str) -> str:
    return str(extract_compact(token.encode()).headers()["kid"])


def published(stack: LocalStack) -> set[str]:
    answer = requests.get(f"{stack.auth_url}/oidc/jwks", timeout=TIMEOUT_SECONDS)
    return {jwk["kid"] for jwk in answer.json()["keys"]}


def do(stack: LocalStack, *arguments: str) -> object:
    result = stack.cli("auth_server", "keys", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it has not come to pass in time"
        time.sleep(0.05)


def test_not_one_request_is_refused_while_keys_rotate(quick_stack: LocalStack) -> None:
    client = register_client(quick_stack, "spends-under-load")
    with under_load(quick_stack, client) as load:
        wait_until(lambda: len(load.kids) == 1)
        first = token_of(quick_stack, client)
        for rotations in (1, 2, 3):  # the second and the third have to wait for their key
            do(quick_stack, "rotate")
            wait_until(partial(load.has_seen, rotations + 1))
    assert load.refused == []
    assert len(load.kids) == 4
    assert spend(quick_stack, first) == 200


def test_a_revoked_key_is_refused_when_copies_have_ended_and_its_successor_is_not(
    quick_stack: LocalStack,
) -> None:
    client = register_client(quick_stack, "meets-a-revocation")
    leaked = token_of(quick_stack, client)
    assert spend(quick_stack, leaked) == 200

    do(quick_stack, "revoke", kid_of(leaked), "--yes")
    wait_until(lambda: spend(quick_stack, leaked) == 401)

    wait_until(lambda: kid_of(leaked) not in published(quick_stack))
    wait_until(lambda: spend(quick_stack, token_of(quick_stack, client)) == 200)


def test_a_new_key_encryption_key_is_taken_up_without_a_restart(quick_stack: LocalStack) -> None:
    client = register_client(quick_stack, "sees-no-re-encryption")
    key_file = quick_stack.demo.state / "secrets" / "auth_server_key_encryption_key"
    old, new = key_file.read_text(), f"{Fernet.generate_key().decode()}\n"
    with under_load(quick_stack, client) as load:
        wait_until(lambda: len(load.kids) == 1)
        write_whole(key_file, new + old)
        done = do(quick_stack, "reencrypt")
        write_whole(key_file, new)
        do(quick_stack, "rotate")
        wait_until(lambda: len(load.kids) > 1)
        do(quick_stack, "rotate")  # to a key that the running processes have yet to open
        wait_until(lambda: len(load.kids) > 2)
    assert (load.refused, isinstance(done, dict) and done["left_under_another"]) == ([], 0)
