"""The life of a signing key, as pure functions over stored times (decision 8).

pending (published, unused) → active (signs) → retired (published, verifies) → gone. Two rules:

1. A key signs when every copy of the JWKS that may still be kept holds it (OIDC Core §10.1.1).
   Its `known_from` says when that is.
2. A key stays published while a token that it signed may still be taken.

What the second rule needs is made of the largest values that settings can have. So a setting that
is changed later, or differs between two replicas, lets no key go too early.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from auth_server.settings import (
    ID_TOKEN_ALGORITHM,
    LONGEST_CLOCK_SKEW_SECONDS,
    LONGEST_KEY_OUTAGE_SECONDS,
    LONGEST_KEY_RELOAD_SECONDS,
    LONGEST_LIFETIME_SECONDS,
    SigningAlgorithm,
)

State = Literal["pending", "active", "retired", "gone", "revoked"]

LONGEST_LEEWAY_SECONDS: Final = 300  # a resource server's: a few minutes (RFC 7519 §4.1.4)
# How long a process may sign with a key after others know a newer one.
LONGEST_STALE_SECONDS: Final = LONGEST_KEY_RELOAD_SECONDS + LONGEST_KEY_OUTAGE_SECONDS
RETIRED_SECONDS: Final = (
    LONGEST_STALE_SECONDS
    + LONGEST_LIFETIME_SECONDS
    + LONGEST_LEEWAY_SECONDS
    # Three pairs of clocks: who rotated and who signs; who signs and who verifies; who drops it.
    + 3 * LONGEST_CLOCK_SKEW_SECONDS
)


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """What is stored of a key's life; times are whole seconds since 1970.

    ``active_from`` None: nobody has decided yet when it is to sign. ``pending_seconds``: how long
    a copy of the JWKS without a newer key may live, at most, as processes since had it.
    ``is_erased``: its private part is no longer there.
    """

    kid: str
    algorithm: SigningAlgorithm
    generation: int
    created_at: int
    known_from: int
    active_from: int | None
    revoked_at: int | None
    pending_seconds: int
    is_erased: bool = False


def state(key: KeyTimes, keys: Iterable[KeyTimes], now: float) -> State:
    """Return where ``key``, one of ``keys``, stands in its life."""
    if key.revoked_at is not None:
        return "revoked"
    if key.active_from is None or key.active_from > now:
        return "pending"
    end = superseded_at(key, keys)
    if end is None or end > now:
        return "active"
    return "retired" if now < end + RETIRED_SECONDS else "gone"


def superseded_at(key: KeyTimes, keys: Iterable[KeyTimes]) -> int | None:
    """Return from when the next key of its algorithm signs; None where that is not known.

    One that was revoked since counts too: what it had retired does not sign again.
    """
    later = [other for other in in_order(keys, key.algorithm) if _place(other) > _place(key)]
    return later[0].active_from if later and key.active_from is not None else None


def leaves_at(key: KeyTimes, keys: Iterable[KeyTimes]) -> int | None:
    """Return when ``key`` leaves the JWKS, or left it; None where that is not known."""
    if key.revoked_at is not None:
        return key.revoked_at
    end = superseded_at(key, keys)
    return None if end is None else end + RETIRED_SECONDS


def is_published(key: KeyTimes, keys: Iterable[KeyTimes], now: float) -> bool:
    """Tell whether ``key`` stands in the JWKS."""
    return state(key, keys, now) not in {"gone", "revoked"}


def signers(keys: Sequence[KeyTimes], algorithm: SigningAlgorithm, now: float) -> list[KeyTimes]:
    """Return the keys that may sign, the one that should first.

    The others are for a process that cannot open that one: a retired key may sign for as long as
    it may in a process that has not heard of its successor. While an algorithm's first key is
    pending, those of the old algorithm sign; but what has to be RS256 always is.
    """
    ready = [key for key in keys if _may_sign(key, keys, now)]
    chosen = [key for key in ready if key.algorithm == algorithm]
    if not chosen and algorithm != ID_TOKEN_ALGORITHM:
        chosen = [key for key in ready if key.algorithm != ID_TOKEN_ALGORITHM] or ready
    return sorted(chosen, key=_place, reverse=True) or _soonest(keys, algorithm, now)


def spares(keys: Iterable[KeyTimes], algorithm: SigningAlgorithm) -> list[KeyTimes]:
    """Return the published keys of which nobody has decided yet when they sign; the next first."""
    found = [key for key in keys if key.algorithm == algorithm and _is_spare(key)]
    return sorted(found, key=lambda key: key.generation)


def in_order(keys: Iterable[KeyTimes], algorithm: SigningAlgorithm) -> list[KeyTimes]:
    """Return the keys of ``algorithm`` that sign, did, or are going to, one after the other."""
    scheduled = [key for key in keys if key.algorithm == algorithm and key.active_from is not None]
    return sorted(scheduled, key=_place)


def _may_sign(key: KeyTimes, keys: Sequence[KeyTimes], now: float) -> bool:
    if key.revoked_at is not None or key.active_from is None or key.active_from > now:
        return False
    end = superseded_at(key, keys)
    return end is None or now < end + LONGEST_STALE_SECONDS


def _soonest(keys: Sequence[KeyTimes], algorithm: SigningAlgorithm, now: float) -> list[KeyTimes]:
    """Return the keys that sign next, where none does: the clock is behind that of their maker."""
    others_too = algorithm != ID_TOKEN_ALGORITHM
    pending = [
        (key.active_from, key.algorithm != algorithm, key.generation, key)
        for key in keys
        if key.active_from is not None
        and state(key, keys, now) == "pending"
        and (others_too or key.algorithm == algorithm)
    ]
    return [key for *_, key in sorted(pending, key=lambda place: place[:3])]


def _is_spare(key: KeyTimes) -> bool:
    return key.revoked_at is None and key.active_from is None


def _place(key: KeyTimes) -> tuple[int, int]:
    return key.active_from or 0, key.generation
