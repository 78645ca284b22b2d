"""How the commands show a key: its state, and the times of each change."""

from auth_server.cli.output import date
from auth_server.signing_keys.by_hand import Replaced
from auth_server.signing_keys.change import ERASED, times_of
from auth_server.signing_keys.life import leaves_at, state, superseded_at
from auth_server.signing_keys.plan import as_planned, unknown_until
from auth_server.signing_keys.store import KeyStore


def key_rows(store: KeyStore) -> list[dict[str, object]]:
    """Return a row for each key that there ever was; times to come are as they are planned now."""
    rows, now = store.rows(), store.now()
    times = times_of(rows)
    planned = as_planned(times, store.rules)
    store.encryption.read()
    return [
        {
            "kid": key.kid,
            "algorithm": key.algorithm,
            "state": state(key, times, now),
            "created_at": date(key.created_at),
            "known_from": date(key.known_from),
            "active_from": date(plan.active_from),
            "retired_from": date(superseded_at(plan, planned)),
            "gone_from": date(leaves_at(plan, planned)),
            "encrypted_with": _encrypted_with(store, row.encrypted_private_jwk),
        }
        for row, key, plan in zip(rows, times, planned, strict=True)
    ]


def replaced_object(store: KeyStore, replaced: Replaced) -> dict[str, object]:
    """Return what became of keys that were revoked or lost, and what it costs."""
    known_from = max((key.known_from for key in replaced.signing), default=None)
    return {
        "replaced": " ".join(replaced.kids) or None,
        "signing": " ".join(key.kid for key in replaced.signing) or None,
        "known_from": date(known_from),
        "old_copies_for_seconds": max(0, replaced.copies_until - int(store.now())),
        "old_copies_until": date(replaced.copies_until),
    }


def old_copies_for_seconds(store: KeyStore) -> int:
    """Return how long others may keep the JWKS as it is now."""
    now = store.now()
    return unknown_until(times_of(store.rows()), store.rules, now) - int(now)


def _encrypted_with(store: KeyStore, encrypted: str) -> str | None:
    return None if encrypted == ERASED else store.encryption.rests_under(encrypted)
