"""Replicas of the authorization server that share keys, without a database, on clocks of a test."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import cast

from joserfc.jwk import OKPKey
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from auth_server.jwk import PrivateKey, new_private_key
from auth_server.models import SigningKey
from auth_server.settings import ID_TOKEN_ALGORITHM, SigningAlgorithm
from auth_server.signing_keys.change import Change, ReadyKey
from auth_server.signing_keys.encryption import KeyEncryption
from auth_server.signing_keys.in_memory import Freshness, SigningKeys
from auth_server.signing_keys.plan import Rules
from auth_server.signing_keys.store import KeyStore, PrivatePart
from shared.database import Database
from tests.unit.auth_server.running import KEY_ENCRYPTION_KEY

DAY = 86400


@dataclass(frozen=True)
class Wanted:
    """The settings of one replica, as far as they are about keys; seconds."""

    algorithm: SigningAlgorithm = "RS256"
    max_age: int = 300
    reload: int = 5
    skew: int = 10
    outage: int = 3600
    active_days: int = 90
    lifetime: int = 300


@dataclass
class SharedKeys:
    """The table, which all replicas see; and the true time."""

    time: float = 1_800_000_000.0
    rows: list[SigningKey] = field(default_factory=list)


class StoreInMemory(KeyStore):
    """The store on ``shared`` in place of a database; ``cut_off``: it does not answer.

    Nothing is committed later than it is written, and nobody writes meanwhile. Every key is of
    the fastest kind, whatever its algorithm says, and what signs for it is one that fits.
    """

    cut_off = False

    def __init__(self, shared: SharedKeys, rules: Rules, now: Callable[[], float]) -> None:
        encryption = KeyEncryption(lambda: KEY_ENCRYPTION_KEY, "the tests' key")
        super().__init__(Database("sqlite://"), encryption, rules, now, _quickly_made)
        self._shared = shared

    def rows(self) -> list[SigningKey]:
        if self.cut_off:
            raise OperationalError("SELECT", {}, Exception("cut off"))
        return sorted(self._shared.rows, key=lambda row: (row.algorithm, row.generation))

    def opened(self, row: SigningKey) -> PrivatePart | None:
        return Fitting(row.algorithm) if super().opened(row) else None

    @contextmanager
    def changing(self, ready: Iterable[ReadyKey] = ()) -> Iterator[Change]:
        rows = self.rows()
        yield self._change(cast(Session, Nowhere()), rows, ready)
        self._shared.rows[:] = rows


class Fitting(PrivatePart):
    """A private part that signs by the algorithm which its row names."""

    def __init__(self, algorithm: str) -> None:
        super().__init__(b"")
        self._algorithm = cast(SigningAlgorithm, algorithm)

    def key(self) -> PrivateKey:
        return _fitting(self._algorithm)


class Nowhere:
    """A session that sends nothing."""

    def add(self, _row: object) -> None: ...

    def flush(self) -> None: ...


@dataclass
class Replica:
    """One process: it has settings, a clock and what it read of the keys."""

    shared: SharedKeys
    wanted: Wanted
    clock_ahead: float

    def __post_init__(self) -> None:
        self.start(self.wanted)

    def start(self, wanted: Wanted) -> None:
        """Start it, or start it again with other settings: it remembers nothing."""
        self.wanted = wanted
        rules = Rules(
            algorithms=tuple(dict.fromkeys((ID_TOKEN_ALGORITHM, wanted.algorithm))),
            pending_seconds=wanted.max_age + wanted.reload + wanted.skew,
            active_seconds=wanted.active_days * DAY,
        )
        self.store = StoreInMemory(self.shared, rules, self.now)
        self.keys = SigningKeys(self.store, Freshness(wanted.reload, wanted.outage, wanted.max_age))

    def now(self) -> float:
        return self.shared.time + self.clock_ahead

    def limits(self) -> list[float]:
        """Return the true times at which what it read becomes old, and too old."""
        if (view := self.keys.view) is None:
            return []
        read_at, reload = view.read_at - self.clock_ahead, self.wanted.reload
        return [read_at + reload, read_at + reload + self.wanted.outage]


def _quickly_made(_algorithm: SigningAlgorithm) -> PrivateKey:
    return OKPKey.generate_key("Ed25519")


@cache
def _fitting(algorithm: SigningAlgorithm) -> PrivateKey:
    return new_private_key(algorithm)
