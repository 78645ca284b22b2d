"""The keys that sign tokens: kept in the database, shared by all processes (decision 8).

One key is active per algorithm. A later one is published at once and signs only when everybody
who keeps the JWKS must have seen it (OIDC Core §10.1.1); the one before stays published. A key's
state follows from its stored times, so no process has to move it.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from joserfc import jwt
from joserfc.jwk import JWKRegistry, OctKey
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from auth_server.jwk import SIGNATURES, PrivateKey, new_private_key, private_jwk, public_jwk
from auth_server.models import SigningKey
from auth_server.settings import ID_TOKEN_ALGORITHM, AuthServerSettings, SigningAlgorithm
from shared.database import Database
from shared.health import NotReadyError
from shared.settings import secret_file, setting_name

log = logging.getLogger(__name__)

State = Literal["pending", "active", "retired"]


class KeyExistsError(Exception):
    """The key is there already, or another process added one in the same moment."""


class KeysCannotBeOpenedError(Exception):
    """The key-encryption key is none that the private keys were encrypted with."""


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """A signing key in memory, ready to sign."""

    kid: str
    algorithm: str
    generation: int
    active_from: int
    public_jwk: dict[str, Any]
    private_key: PrivateKey = field(repr=False)


class SigningKeys:
    """The signing keys, read when they are first needed and again after ``reload_seconds``.

    A key of each of ``algorithms`` is always there: the process that misses one makes it.
    ``pending_seconds``: how long a key that is not its algorithm's first is only published.
    """

    def __init__(
        self,
        database: Database,
        encryption: MultiFernet,
        *,
        algorithms: Iterable[SigningAlgorithm],
        reload_seconds: int,
        pending_seconds: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._encryption = encryption
        self._algorithms = tuple(dict.fromkeys(algorithms))
        self._reload_seconds = reload_seconds
        self._pending_seconds = pending_seconds
        self._now = now
        self._loaded: tuple[LoadedKey, ...] = ()
        self._read_at = 0.0
        self._reading = threading.Lock()

    def sign(self, algorithm: SigningAlgorithm, typ: str, claims: dict[str, Any]) -> str:
        """Return ``claims`` as a JWT, signed with the one active key of ``algorithm``.

        Never with a key set: out of one, Authlib and joserfc sign with a random key.
        """
        now = self._now()
        key = _active([key for key in self._keys(now) if key.algorithm == algorithm], now)
        header = {"alg": algorithm, "typ": typ, "kid": key.kid}
        return jwt.encode(header, claims, key.private_key, registry=SIGNATURES)

    def published(self) -> list[dict[str, Any]]:
        """Return the public JWKs of all keys, pending and retired ones too."""
        return [key.public_jwk for key in self._keys(self._now())]

    def check(self) -> None:
        """Raise NotReadyError where the keys can't be read or opened."""
        try:
            self.published()
        except SQLAlchemyError as error:
            raise NotReadyError(f"signing keys: {type(error).__name__}") from error
        except KeysCannotBeOpenedError as error:
            raise NotReadyError(f"signing keys: {error}") from error

    def open_all(self) -> None:
        """Raise KeysCannotBeOpenedError where a stored key can't be opened.

        Before a key is added by hand: encrypted with a wrong key it would be lost.
        """
        for row in self._rows():
            self._opened(row)

    def states(self) -> list[tuple[SigningKey, State]]:
        """Return the stored keys, by algorithm and age, each with its state now."""
        now, rows = self._now(), self._rows()
        algorithms = {row.algorithm for row in rows}
        active = [_active([row for row in rows if row.algorithm == a], now) for a in algorithms]
        return [(row, _state(row, row in active, now)) for row in rows]

    def add(
        self, algorithm: SigningAlgorithm, key: PrivateKey, *, only_as_first: bool = False
    ) -> SigningKey | None:
        """Store ``key``, and so publish it; the first of its algorithm is active at once.

        With ``only_as_first`` nothing is stored, and None returned, where there is one already.
        Raises KeyExistsError where the key itself is there, or another process was faster.
        """
        now = int(self._now())
        private = json.dumps(private_jwk(key, algorithm)).encode()
        newest = select(func.max(SigningKey.generation)).where(SigningKey.algorithm == algorithm)
        try:
            with self._database.writing() as session:
                generation = session.scalar(newest) or 0
                if generation and only_as_first:
                    return None
                row = SigningKey(
                    kid=key.thumbprint(),
                    algorithm=algorithm,
                    generation=generation + 1,
                    public_jwk=json.dumps(public_jwk(key, algorithm)),
                    encrypted_private_jwk=self._encryption.encrypt(private).decode(),
                    created_at=now,
                    active_from=now + self._pending_seconds if generation else now,
                )
                session.add(row)
        except IntegrityError as error:
            raise KeyExistsError("this key, or one of the same age, is there already") from error
        return row

    def _keys(self, now: float) -> tuple[LoadedKey, ...]:
        """Return the keys in memory; the first caller after their time reads them again.

        The others go on with what there is, and so does everybody while the database is away.
        """
        if self._are_fresh(now) or not self._reading.acquire(blocking=not self._loaded):
            return self._loaded
        try:
            if not self._are_fresh(now):  # as another thread may have read them meanwhile
                self._reload(now)
        finally:
            self._reading.release()
        return self._loaded

    def _are_fresh(self, now: float) -> bool:
        return bool(self._loaded) and abs(now - self._read_at) < self._reload_seconds

    def _reload(self, now: float) -> None:
        try:
            rows = self._rows()
            if missing := set(self._algorithms) - {row.algorithm for row in rows}:
                self._make_first(missing)
                rows = self._rows()
            known = {key.kid: key for key in self._loaded}
            self._loaded = tuple(known.get(row.kid) or self._opened(row) for row in rows)
            self._read_at = now
        except (SQLAlchemyError, KeysCannotBeOpenedError) as error:
            if not self._loaded:
                raise
            log.warning("going on with the signing keys in memory: %s", type(error).__name__)

    def _make_first(self, algorithms: Iterable[SigningAlgorithm]) -> None:
        for algorithm in algorithms:
            try:
                self.add(algorithm, new_private_key(algorithm), only_as_first=True)
            except KeyExistsError:
                log.info("another process made the first %s key", algorithm)

    def _rows(self) -> list[SigningKey]:
        by_age = select(SigningKey).order_by(SigningKey.algorithm, SigningKey.generation)
        with self._database.reading() as session:
            return list(session.scalars(by_age))

    def _opened(self, row: SigningKey) -> LoadedKey:
        try:
            private = json.loads(self._encryption.decrypt(row.encrypted_private_jwk))
        except InvalidToken as error:
            problem = _about_the_file("does not open the keys in the database")
            raise KeysCannotBeOpenedError(problem) from error
        key = JWKRegistry.import_key(private)
        assert not isinstance(key, OctKey), "none is ever stored"
        public = json.loads(row.public_jwk)
        return LoadedKey(row.kid, row.algorithm, row.generation, row.active_from, public, key)


def signing_keys(
    settings: AuthServerSettings, database: Database, now: Callable[[], float] = time.time
) -> SigningKeys:
    """Return the keys as the settings want them; raises SystemExit as `key_encryption` does."""
    return SigningKeys(
        database,
        key_encryption(settings),
        algorithms=(ID_TOKEN_ALGORITHM, settings.access_token_algorithm),
        reload_seconds=settings.key_reload_seconds,
        pending_seconds=settings.metadata_max_age_seconds + settings.key_reload_seconds,
        now=now,
    )


def key_encryption(settings: AuthServerSettings) -> MultiFernet:
    """Return what encrypts private keys at rest; raises SystemExit where it is missing or bad."""
    if settings.key_encryption_key is None:
        raise SystemExit(_about_the_file("is missing: a Fernet key, or several, one a line"))
    try:
        keys = settings.key_encryption_key.get_secret_value().split()
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise SystemExit(_about_the_file("has to hold Fernet keys, one a line")) from error


def refuse_wrong_key_encryption(settings: AuthServerSettings) -> None:
    """Stop the service at its start where it could not open its signing keys; make missing ones.

    A database that is not there yet is no reason to stop: `/readyz` waits for it.
    Raises SystemExit with the setting and its file.
    """
    database = Database(settings.database_url, settings.database_password)
    try:
        signing_keys(settings, database).published()
    except KeysCannotBeOpenedError as error:
        raise SystemExit(str(error)) from error
    except SQLAlchemyError as error:
        log.warning("the signing keys cannot be read yet: %s", type(error).__name__)
    finally:
        database.engine.dispose()


def _about_the_file(problem: str) -> str:
    field_name = "key_encryption_key"
    name = setting_name(AuthServerSettings, field_name)
    return f"{name}: the file {secret_file(AuthServerSettings, field_name)} {problem}"


_Key = TypeVar("_Key", SigningKey, LoadedKey)


def _active(keys: Sequence[_Key], now: float) -> _Key:
    """Return the newest of ``keys`` whose time has come.

    That of the first came when it was made; a clock that is behind its maker's takes it as well.
    """
    ready = [key for key in keys if key.active_from <= now]
    return max(ready, key=lambda key: (key.active_from, key.generation)) if ready else keys[0]


def _state(key: SigningKey, is_active: bool, now: float) -> State:
    if is_active:
        return "active"
    return "retired" if key.active_from <= now else "pending"
