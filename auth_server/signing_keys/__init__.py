"""The keys that sign tokens: kept in the database, shared by all processes (decision 8).

`life.py` says which states a key goes through, `plan.py` when which key is made and signs. Both
are pure functions over stored times. `store.py` and `change.py` write, `in_memory.py` signs,
`by_hand.py` is what an operator does, `encryption.py` how private keys rest.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from auth_server.settings import ID_TOKEN_ALGORITHM, AuthServerSettings, SigningAlgorithm
from auth_server.signing_keys.encryption import (
    KeyEncryptionUnreadableError,
    KeysCannotBeOpenedError,
    key_encryption,
)
from auth_server.signing_keys.in_memory import Freshness, SigningKeys
from auth_server.signing_keys.plan import Rules
from auth_server.signing_keys.store import KeyStore
from shared.database import Database

__all__ = ["SigningKeys", "refuse_wrong_key_encryption", "signing_keys"]

log = logging.getLogger(__name__)

SECONDS_PER_DAY: Final = 86400


def signing_keys(
    settings: AuthServerSettings, database: Database, now: Callable[[], float] = time.time
) -> SigningKeys:
    """Return the keys as the settings want them; raises SystemExit as `key_encryption` does."""
    freshness = Freshness(
        reload=settings.key_reload_seconds,
        outage=settings.key_outage_seconds,
        max_age=settings.metadata_max_age_seconds,
    )
    algorithms: tuple[SigningAlgorithm, ...] = (ID_TOKEN_ALGORITHM, settings.access_token_algorithm)
    rules = Rules(
        algorithms=tuple(dict.fromkeys(algorithms)),
        pending_seconds=freshness.max_age + freshness.reload + settings.key_clock_skew_seconds,
        active_seconds=settings.key_active_days * SECONDS_PER_DAY,
    )
    return SigningKeys(KeyStore(database, key_encryption(settings), rules, now), freshness)


def refuse_wrong_key_encryption(settings: AuthServerSettings) -> None:
    """Stop the service at its start where it could not open its signing keys; make missing ones.

    A database or a vault that is not there yet is no reason to stop: `/readyz` waits for it.
    Raises SystemExit with the setting and where it rests.
    """
    database = Database(settings.database_url, settings.database_password)
    try:
        store = signing_keys(settings, database).store
        store.see_to_it()
        store.open_all()
    except KeysCannotBeOpenedError as error:
        raise SystemExit(str(error)) from error
    except (SQLAlchemyError, KeyEncryptionUnreadableError) as error:
        log.warning("the signing keys cannot be read yet: %s", type(error).__name__)
    finally:
        database.engine.dispose()
