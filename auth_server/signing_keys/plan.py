"""When signing keys are made and begin to sign: what each process has to see to (decision 8).

Pure functions like those of `life.py`; `store.py` writes what they say. A spare key is
always published, so that a rotation, an emergency's too, can be had at once.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from auth_server.settings import ID_TOKEN_ALGORITHM, SigningAlgorithm
from auth_server.signing_keys.life import KeyTimes, in_order, is_published, leaves_at, spares


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings of one process want: keys of which algorithms, for how long.

    ``pending_seconds``: the JWKS' `max-age`, the reload lag and the clock skew.
    ``active_seconds``: after that a next key takes over; 0: never by itself.
    """

    algorithms: tuple[SigningAlgorithm, ...]
    pending_seconds: int
    active_seconds: int


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that has to be made, and its times."""

    algorithm: SigningAlgorithm
    known_from: int
    active_from: int | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to be written.

    Keys to make; spare ones that are to sign, with the time; keys whose private parts can be
    erased; and whether the keys are to remember longer ``pending_seconds``.
    """

    make: tuple[NewKey, ...] = ()
    activate: tuple[tuple[str, int], ...] = ()
    erase: tuple[str, ...] = ()
    remember: bool = False

    def __bool__(self) -> bool:
        return bool(self.make or self.activate or self.erase or self.remember)


def unknown_until(keys: Sequence[KeyTimes], rules: Rules, now: float) -> int:
    """Return how long copies of the JWKS as it is ``now`` may be kept: to which time.

    Not only as this process has it: one with a longer `max-age` may run beside it, or may have
    run a moment ago. Each key remembers the longest for as long as such copies may live.
    """
    longest = max((key.pending_seconds for key in keys if _remembers(key, keys, now)), default=0)
    return math.ceil(now) + max(longest, rules.pending_seconds)


def changes_due(keys: Sequence[KeyTimes], rules: Rules, now: float) -> Changes:
    """Return what has to be written now, so that each algorithm has its keys in time."""
    make: list[NewKey] = []
    activate: list[tuple[str, int]] = []
    for algorithm in rules.algorithms:
        spare = spares(keys, algorithm)
        if _needs_a_signer(keys, algorithm, rules, now):
            if spare:
                activate.append(activation(spare.pop(0), now))
            else:
                make.append(first_key(keys, algorithm, rules, now))
        if not spare:
            make.append(new_key(keys, algorithm, rules, now))
    left = [key for key in keys if not key.is_erased and not is_published(key, keys, now)]
    remember = any(key.pending_seconds < rules.pending_seconds for key in keys)
    return Changes(tuple(make), tuple(activate), tuple(key.kid for key in left), remember)


def activation(spare: KeyTimes, now: float) -> tuple[str, int]:
    """Return the `kid` of ``spare`` and the first time at which it may sign."""
    return spare.kid, max(int(now), spare.known_from)


def new_key(
    keys: Sequence[KeyTimes], algorithm: SigningAlgorithm, rules: Rules, now: float
) -> NewKey:
    """Return the times of a spare key that is made now.

    Where there never was a key, no copy of a JWKS is about.
    """
    known_from = unknown_until(keys, rules, now) if keys else int(now)
    return NewKey(algorithm, known_from, active_from=None)


def first_key(
    keys: Sequence[KeyTimes], algorithm: SigningAlgorithm, rules: Rules, now: float
) -> NewKey:
    """Return the times of a key that is made now to sign as soon as it may.

    That is at once where nothing else could: without any key, and for what has to be RS256.
    """
    made = new_key(keys, algorithm, rules, now)
    alone = not any(is_published(key, keys, now) for key in keys)
    of_it = [key for key in keys if key.algorithm == algorithm and is_published(key, keys, now)]
    at_once = alone or (algorithm == ID_TOKEN_ALGORITHM and not of_it)
    return replace(made, active_from=int(now) if at_once else made.known_from)


def as_planned(keys: Sequence[KeyTimes], rules: Rules) -> list[KeyTimes]:
    """Return ``keys`` with the times at which their spares are going to sign by themselves."""
    planned = {}
    for algorithm in rules.algorithms if rules.active_seconds else ():
        signing, spare = _unrevoked(keys, algorithm), spares(keys, algorithm)
        if signing and spare:
            end = (signing[-1].active_from or 0) + rules.active_seconds
            planned[spare[0].kid] = max(end, spare[0].known_from)
    return [replace(key, active_from=planned.get(key.kid, key.active_from)) for key in keys]


def _needs_a_signer(
    keys: Sequence[KeyTimes], algorithm: SigningAlgorithm, rules: Rules, now: float
) -> bool:
    """Tell whether nothing of ``algorithm`` signs or is going to, or only what is due to go."""
    signing = _unrevoked(keys, algorithm)
    if not signing:
        return True
    since = signing[-1].active_from or 0
    return bool(rules.active_seconds) and since + rules.active_seconds <= now


def _remembers(key: KeyTimes, keys: Sequence[KeyTimes], now: float) -> bool:
    left = leaves_at(key, keys)
    return left is None or now < left + key.pending_seconds


def _unrevoked(keys: Iterable[KeyTimes], algorithm: SigningAlgorithm) -> list[KeyTimes]:
    return [key for key in in_order(keys, algorithm) if key.revoked_at is None]
