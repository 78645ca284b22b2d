"""Processes of their own that change the signing keys: beside others, or killed on the way."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier

from pydantic import SecretStr
from sqlalchemy import event

from auth_server.signing_keys.by_hand import reencrypt, replace_lost, revoke, rotate
from auth_server.signing_keys.change import times_of
from auth_server.signing_keys.encryption import KeyEncryption
from auth_server.signing_keys.life import is_published
from auth_server.signing_keys.plan import Rules
from auth_server.signing_keys.store import KeyStore
from shared.database import Database
from tests.unit.auth_server.running import START

DAY = 86400
RULES = Rules(("Ed25519", "ES256"), pending_seconds=315, active_seconds=90 * DAY)


def store_at(
    database: Database, fernet: str, time: float = START, rules: Rules = RULES
) -> KeyStore:
    """Return a store on ``database``, whose clock stands at ``time``."""
    return KeyStore(database, KeyEncryption(lambda: fernet, "the tests' key"), rules, lambda: time)


def processes() -> ForkServerContext:
    """Return what starts processes that have imported all of this already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def published(store: KeyStore) -> list[str]:
    times = times_of(store.rows())
    return [key.kid for key in times if is_published(key, times, store.now())]


COMMANDS: dict[str, Callable[[KeyStore], object]] = {
    "what is due": lambda store: store.see_to_it(),
    "rotate": lambda store: rotate(store, "Ed25519"),
    "revoke": lambda store: revoke(store, published(store)),
    "reencrypt": reencrypt,
    "replace lost": replace_lost,
}


def do_until_killed(command: str, steps: int, url: str, fernet: str, time: float) -> None:
    """Do ``command`` on the database at ``url`` and be killed before the step after ``steps``."""
    database = Database(url)
    done = 0

    def step(*_arguments: object) -> None:
        nonlocal done
        if done == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

    event.listen(database.engine, "before_cursor_execute", step)
    event.listen(database.engine, "commit", step)
    COMMANDS[command](store_at(database, fernet, time))


def see_to_it_with_others(
    all_ready: Barrier, url: str, password: str | None, fernet: str, time: float
) -> None:
    """What a process does; it ends with an error where its keys would be none."""
    store = store_at(Database(url, SecretStr(password) if password else None), fernet, time)
    store.rows()
    all_ready.wait(timeout=60)
    assert store.see_to_it()
