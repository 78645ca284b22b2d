"""What a command that delivers a secret is asked for, and what it says at its end."""

from collections.abc import Sequence
from dataclasses import dataclass

from auth_server.models import ClientSecret
from auth_server.registry.errors import RegistryError
from auth_server.registry.third_secret import when
from shared.vault import EntryVersion


@dataclass(frozen=True, slots=True)
class Order:
    """What a command wants: a secret of a client in an entry, and when it and the old one end.

    ``overlap`` None: the old one keeps the end that it has.
    """

    client_id: str
    entry: str
    expires_at: int | None = None
    overlap: int | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The secret that the vault holds, and the one before it, where that was live."""

    new: ClientSecret
    old: ClientSecret | None


class AlreadyRotatedError(RegistryError):
    """The vault has the new secret, and the old one has its end: nothing is left to do."""

    def __init__(self, delivered: Delivered, message: str) -> None:
        super().__init__(message)
        self.delivered = delivered


def already_rotated(
    live: Sequence[ClientSecret], order: Order, version: EntryVersion
) -> AlreadyRotatedError | None:
    """Return the error that says so where the vault has one of two, and the other has its end."""
    wanted = (order.entry, version.number)
    new = next((one for one in live if (one.vault_entry, one.vault_version) == wanted), None)
    old = next((one for one in live if one is not new and one.expires_at is not None), None)
    if order.overlap is None or new is None or old is None or old.expires_at is None:
        return None
    return AlreadyRotatedError(
        Delivered(new, old),
        f"{order.client_id} was rotated already, and its old secret {old.secret_id} ends at "
        f"{when(old.expires_at)}: to end it as soon as nobody uses it, add --wait; to end it now, "
        f"`secrets revoke {order.client_id} {old.secret_id}`",
    )
