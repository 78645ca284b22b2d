"""The keys that sign tokens, in memory: read when first needed, and again every few seconds.

Which of them signs and which are published follows from their stored times (`life.py`). The
request that finds them too old reads them again and sees to what is due (`store.py`); the
others go on meanwhile, and so does everybody for a time while the database is away.
"""

import json
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from joserfc.util import urlsafe_b64encode
from sqlalchemy.exc import SQLAlchemyError

from auth_server.jwk import PrivateKey, signing
from auth_server.models import SigningKey
from auth_server.settings import SigningAlgorithm
from auth_server.signing_keys.change import times_of
from auth_server.signing_keys.encryption import (
    KeysCannotBeOpenedError,
    KeysUnavailableError,
)
from auth_server.signing_keys.life import KeyTimes, is_published, signers, state
from auth_server.signing_keys.store import KeyStore, PrivatePart
from shared.health import NotReadyError

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5  # after a reading that failed


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """A key in memory; ``private`` None: it is retired, or cannot be opened here."""

    times: KeyTimes
    public_jwk: dict[str, Any]
    private: PrivatePart | None = field(repr=False)

    def private_key(self) -> PrivateKey | None:
        """Return what signs; None where there is nothing that could."""
        try:
            return None if self.private is None else self.private.key()
        except KeysCannotBeOpenedError as error:
            _log_that_it_cannot_be_opened(self.times, error)
            return None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long what was read is good for, in seconds; the settings explain each."""

    reload: int
    outage: int
    max_age: int


@dataclass(frozen=True, slots=True)
class View:
    """The published keys as they were read at one time."""

    keys: tuple[LoadedKey, ...]
    times: tuple[KeyTimes, ...]
    read_at: float

    def age(self, now: float) -> float:
        """Return how old it is; a clock that was set back makes it old too."""
        return abs(now - self.read_at)


@dataclass(frozen=True, slots=True)
class Signer:
    """What signs in one second: all stored times are whole seconds, so it can't change within."""

    view: View
    second: int
    sign: Callable[[bytes], bytes] = field(repr=False)
    protected: bytes
    """The first segment of its tokens, the protected header: the same for all of one `typ`."""

    def signed(self, claims: dict[str, Any]) -> str:
        """Return ``claims`` in a JWS in compact form (RFC 7515 §7.1).

        joserfc's own encodes and judges header and key again for each token, which makes an
        ES256 token cost a tenth more.
        """
        signing_input = self.protected + b"." + urlsafe_b64encode(orjson.dumps(claims))
        return (signing_input + b"." + urlsafe_b64encode(self.sign(signing_input))).decode()


class SigningKeys:
    """The keys of ``store`` as this process has them. Safe to share between threads."""

    def __init__(self, store: KeyStore, freshness: Freshness) -> None:
        self.store = store
        self._freshness = freshness
        self._now = store.now
        self.view: View | None = None  # what was read last
        self._chosen: dict[tuple[SigningAlgorithm, str], Signer] = {}
        self._tried_at = -math.inf
        self._reading = threading.Lock()

    def sign(self, algorithm: SigningAlgorithm, typ: str, claims: dict[str, Any]) -> str:
        """Return ``claims`` as a JWT, signed with the active key of ``algorithm``.

        Never with a key set: out of one, Authlib and joserfc sign with a random key. Raises
        KeysUnavailableError, SQLAlchemyError.
        """
        now = self._now()
        chosen = self._chosen.get((algorithm, typ))
        view = self._current(now)
        if chosen is None or chosen.view is not view or chosen.second != int(now):
            chosen = self._chosen[algorithm, typ] = _signer(view, algorithm, typ, now)
        return chosen.signed(claims)

    def published(self) -> list[dict[str, Any]]:
        """Return the public JWKs of all keys, pending and retired ones too."""
        return self.jwks()[0]

    def jwks(self) -> tuple[list[dict[str, Any]], int]:
        """Return the public JWKs, and for how many seconds others may keep them.

        That is less where they are older than they should be: so no copy, whoever made it, lives
        longer after a new key was stored than that key waits.
        """
        now = self._now()
        view, rules = self._current(now), self._freshness
        kept = math.floor(rules.max_age + rules.reload - view.age(now))
        jwks = [key.public_jwk for key in view.keys if is_published(key.times, view.times, now)]
        return jwks, max(0, min(rules.max_age, kept))

    def check(self) -> None:
        """Raise NotReadyError where the keys can't be read, or one that is to sign not opened."""
        now = self._now()
        try:
            view = self._current(now)
        except SQLAlchemyError as error:
            raise NotReadyError(f"signing keys: {type(error).__name__}") from error
        except KeysUnavailableError as error:
            raise NotReadyError(f"signing keys: {error}") from error
        if any(_cannot_be_opened(key, view, now) for key in view.keys):
            raise NotReadyError(f"signing keys: {self.store.encryption.does_not_open()}")

    def _current(self, now: float) -> View:
        """Return the view; the first caller after its time reads the keys again."""
        view = self.view
        if view is None or self._is_due(view, now):
            view = self._renewed(view, now)
        if view.age(now) > self._freshness.reload + self._freshness.outage:
            raise KeysUnavailableError("the signing keys could not be read for too long")
        return view

    def _is_due(self, view: View, now: float) -> bool:
        """Tell whether to read again; not at once where that has just failed."""
        wait = min(self._freshness.reload, RETRY_SECONDS)
        return view.age(now) >= self._freshness.reload and abs(now - self._tried_at) >= wait

    def _renewed(self, view: View | None, now: float) -> View:
        """Return what is read now; where another thread reads already, what there is."""
        if not self._reading.acquire(blocking=view is None) and view is not None:
            return view
        try:
            view = self.view
            if view is None or self._is_due(view, now):  # else another thread has just read
                self._tried_at = now
                view = self.view = self._read(view, now)
        except (SQLAlchemyError, KeysUnavailableError) as error:
            if view is None:
                raise
            log.warning("going on with the signing keys in memory: %s", type(error).__name__)
        finally:
            self._reading.release()
        return view

    def _read(self, before: View | None, now: float) -> View:
        try:
            rows = self.store.see_to_it()
        except (SQLAlchemyError, KeysUnavailableError) as error:
            if before is None:
                raise
            log.warning("the signing keys lack what is due: %s", type(error).__name__)
            rows = self.store.rows()
        return View(tuple(self._loaded(rows, before, now)), tuple(times_of(rows)), now)

    def _loaded(
        self, rows: Sequence[SigningKey], before: View | None, now: float
    ) -> Iterator[LoadedKey]:
        known = {key.times.kid: key.private for key in before.keys} if before else {}
        times = times_of(rows)
        for row, key in zip(rows, times, strict=True):
            if is_published(key, times, now):
                private = known.get(key.kid)
                if private is None and state(key, times, now) != "retired":
                    private = self._opened(row)
                yield LoadedKey(key, json.loads(row.public_jwk), private)

    def _opened(self, row: SigningKey) -> PrivatePart | None:
        """Return the private part; None where it cannot be opened, now or ever."""
        try:
            return self.store.opened(row)
        except KeysUnavailableError as error:
            _log_that_it_cannot_be_opened(row, error)
            return None


def _log_that_it_cannot_be_opened(key: SigningKey | KeyTimes, error: Exception) -> None:
    log.error("the %s key %s cannot be opened: %s", key.algorithm, key.kid, error)


def _signer(view: View, algorithm: SigningAlgorithm, typ: str, now: float) -> Signer:
    loaded = {key.times.kid: key for key in view.keys}
    candidates = signers(view.times, algorithm, now)
    for key in candidates:
        if key.kid in loaded and (private_key := loaded[key.kid].private_key()):
            header = {"alg": key.algorithm, "typ": typ, "kid": key.kid}
            protected = urlsafe_b64encode(orjson.dumps(header))
            return Signer(view, int(now), signing(key.algorithm, private_key), protected)
    raise KeysCannotBeOpenedError(f"none of {len(candidates)} {algorithm} keys can be opened")


def _cannot_be_opened(key: LoadedKey, view: View, now: float) -> bool:
    lasting = state(key.times, view.times, now) in {"pending", "active"}
    return lasting and key.private_key() is None
