"""Why a client has no third live secret, and what to do (decision 5)."""

from collections.abc import Sequence
from datetime import UTC, datetime

from auth_server.models import ClientSecret
from auth_server.registry.errors import RegistryError

LIVE_SECRETS_PER_CLIENT = 2


def refuse_a_third(client_id: str, live: Sequence[ClientSecret]) -> None:
    """Raise RegistryError where ``live`` are as many as a client may have."""
    if len(live) >= LIVE_SECRETS_PER_CLIENT:
        raise RegistryError(
            f"{client_id} has {len(live)} live secrets, and no more can be live at a time: "
            f"{_what_to_do(client_id, live)}"
        )


def when(seconds: int) -> str:
    """Return a time in the words of a message: ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _what_to_do(client_id: str, live: Sequence[ClientSecret]) -> str:
    for one in live:
        if one.delivered_at is None:
            entry = one.vault_entry or "ENTRY"
            return (
                f"{one.secret_id} was cut off on its way into the vault; go on with `secrets "
                f"rotate {client_id} --to-vault {entry}`, or end it with `secrets revoke "
                f"{client_id} {one.secret_id}`"
            )
    end_one = (
        f"`secrets list {client_id}` tells which is in use; end the other with `secrets revoke "
        f"{client_id} SECRET_ID`"
    )
    ends = [one.expires_at for one in live if one.expires_at is not None]
    return f"{end_one}, or wait until {when(min(ends))}, when one ends" if ends else end_one
