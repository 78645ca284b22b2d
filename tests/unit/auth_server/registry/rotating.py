"""A register and a vault where secrets rotate, and ways to die on the way.

What is here can be given to another process: it names places, and holds nothing open.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.orm import Session

from auth_server.client_authentication.client_secret import matching_secret
from auth_server.models import ClientSecret
from auth_server.registry import Registry
from auth_server.registry.rotation import Delivered, Order
from auth_server.registry.secret_delivery import SecretDelivery
from shared.database import Database
from shared.identifiers import VAULT_CLIENT_SECRET
from shared.vault import DirectoryVault, EntryVersion
from tests.unit.auth_server.running import BANK

START = 1_800_000_000
DAY = 86400
CLIENT, ENTRY = "worker", "worker-entry"
ROTATION = Order(CLIENT, ENTRY, overlap=DAY)

STEPS = (
    "before the vault is asked",
    "after the hash is stored",
    "before the vault is written",
    "after the vault is written",
    "after it is marked as delivered",
)
"""Where a rotation can be cut off; after the last one it is done."""


class CutOffError(BaseException):
    """The process is gone: nothing catches this."""


def raise_it() -> None:
    raise CutOffError


def kill_it() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Place:
    """A database and a vault."""

    url: str
    password: SecretStr | None
    vault: Path

    @contextmanager
    def opened(self, now: Callable[[], float] = lambda: START) -> Iterator["Rotating"]:
        database = Database(self.url, self.password)
        try:
            yield Rotating(self, database, DirectoryVault(self.vault), now)
        finally:
            database.engine.dispose()


@dataclass
class Rotating:
    """The place, opened."""

    place: Place
    database: Database
    vault: DirectoryVault
    now: Callable[[], float]

    @property
    def registry(self) -> Registry:
        return Registry(self.database, self.now)

    def register(self) -> None:
        """Register a client whose secret is in the vault."""
        self.registry.resources.add(BANK, ["Read"], is_default=True)
        delivery = SecretDelivery(self.database, self.vault, self.now)
        made = self.registry.clients.add(
            CLIENT,
            authentication_method="client_secret_basic",
            may_have_id_token=True,
            place=delivery.place(ENTRY),
        )
        delivery.deliver(made)

    def rotate(self, order: Order = ROTATION) -> Delivered:
        return SecretDelivery(self.database, self.vault, self.now).fulfil(order)

    def rotate_up_to(self, step: str, die: Callable[[], None], order: Order = ROTATION) -> None:
        """Rotate, and die at a step."""
        database = DyingDatabase(self.place.url, self.place.password)
        database.dies_after_commit = {STEPS[1]: 1, STEPS[4]: 2}.get(step, 0)
        database.die = die
        vault = DyingVault(self.place.vault, step, die)
        try:
            SecretDelivery(database, vault, self.now).fulfil(order)
        finally:
            database.engine.dispose()

    def secrets(self) -> list[ClientSecret]:
        return self.registry.secrets.all_of(CLIENT)

    def live(self) -> list[ClientSecret]:
        return [
            one
            for one in self.secrets()
            if one.revoked_at is None and (one.expires_at is None or one.expires_at > self.now())
        ]

    def secret_in_the_vault(self) -> str:
        return self.vault.read(ENTRY)[VAULT_CLIENT_SECRET]

    def authenticates(self, secret: str) -> bool:
        client = self.registry.find_client(CLIENT)
        return matching_secret(client, secret, self.now()) is not None


class DyingDatabase(Database):
    """Dies after one of its commits."""

    dies_after_commit = 0
    commits = 0
    die: Callable[[], None]

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with super().writing() as session:
            yield session
        self.commits += 1
        if self.commits == self.dies_after_commit:
            self.die()


@dataclass
class DyingVault(DirectoryVault):
    """Dies when it is asked or written."""

    directory: Path
    step: str
    die: Callable[[], None] = field(repr=False)

    def __post_init__(self) -> None:
        super().__init__(self.directory)

    def version(self, entry: str) -> EntryVersion:
        self._die_at(STEPS[0])
        return super().version(entry)

    def write(
        self, entry: str, fields: Mapping[str, str], expected_version: int | None = None
    ) -> int:
        self._die_at(STEPS[2])
        written = super().write(entry, fields, expected_version)
        self._die_at(STEPS[3])
        return written

    def _die_at(self, step: str) -> None:
        if self.step == step:
            self.die()
