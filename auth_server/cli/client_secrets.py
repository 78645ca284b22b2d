"""`flask --app auth_server.app secrets …`."""

from collections.abc import Callable

import click

from auth_server.cli.credentials import end_after, hand_over, secret_lifetime, to_vault
from auth_server.cli.group import CommandGroup
from auth_server.cli.output import as_json, date, print_object, print_rows
from auth_server.models import ClientSecret
from auth_server.registry import Registry, is_live
from shared.vault import Vault


def secrets_group(registry: Registry, vault: Vault, now: Callable[[], float]) -> CommandGroup:
    """Return the commands for the secrets of a client."""
    group = CommandGroup("secrets", help="The secrets of a client: two can be live at a time.")

    @group.command("add")
    @click.argument("client")
    @secret_lifetime
    @to_vault
    @as_json
    def add(client: str, lifetime_days: int | None, to_vault: str | None, as_json: bool) -> None:
        """Make one more secret for CLIENT; the one that it has goes on working."""
        delivered = to_vault is None
        end = end_after(lifetime_days, now)
        made = registry.secrets.add(client, expires_at=end, delivered=delivered)
        hand_over(registry, vault, made, to_vault, as_json, {"client_id": client})

    @group.command("list")
    @click.argument("client")
    @as_json
    def list_(client: str, as_json: bool) -> None:
        """List the secrets of CLIENT: their ids and times, as nobody knows the secrets."""
        rows = [_secret_row(secret, now()) for secret in registry.secrets.all_of(client)]
        print_rows(rows, as_json)

    @group.command("revoke")
    @click.argument("client")
    @click.argument("secret_id")
    @as_json
    def revoke(client: str, secret_id: str, as_json: bool) -> None:
        """End a secret of CLIENT at once."""
        registry.secrets.revoke(client, secret_id)
        print_object({"client_id": client, "secret_id": secret_id, "state": "revoked"}, as_json)

    return group


def _secret_row(secret: ClientSecret, now: float) -> dict[str, object]:
    if secret.revoked_at is not None:
        state = "revoked"
    elif not is_live(secret, now):
        state = "expired"
    else:
        state = "live" if secret.delivered_at is not None else "undelivered"
    return {
        "secret_id": secret.secret_id,
        "state": state,
        "created_at": date(secret.created_at),
        "expires_at": date(secret.expires_at),
    }
