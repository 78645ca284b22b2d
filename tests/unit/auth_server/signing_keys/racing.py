"""A process of its own that sees to the signing keys in the same moment as others."""

from multiprocessing.synchronize import Barrier

from pydantic import SecretStr

from auth_server.signing_keys.encryption import KeyEncryption
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


def see_to_it_with_others(
    all_ready: Barrier, url: str, password: str | None, fernet: str, time: float
) -> None:
    """What a process does; it ends with an error where its keys would be none."""
    store = store_at(Database(url, SecretStr(password) if password else None), fernet, time)
    store.rows()
    all_ready.wait(timeout=60)
    assert store.see_to_it()
