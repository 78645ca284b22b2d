"""`flask --app auth_server.app secrets …`."""

import time
from collections.abc import Callable
from typing import IO

import click

from auth_server.cli.confirmation import confirm, yes
from auth_server.cli.credentials import (
    end_after,
    print_delivered,
    print_once,
    run_if_it_fails,
    say,
    secret_lifetime,
    to_vault,
)
from auth_server.cli.durations import duration
from auth_server.cli.group import CommandGroup
from auth_server.cli.output import as_json, date, print_object, print_rows
from auth_server.cli.secret_rotation import add_rotate_command
from auth_server.models import ClientSecret
from auth_server.registry import Registry, secrets_in, state_of
from auth_server.registry.old_secret import OldSecret
from auth_server.registry.rotation import Order
from auth_server.registry.secret_delivery import SecretDelivery
from shared.vault import Vault


def secrets_group(
    registry: Registry,
    vault: Vault,
    token_lifetime_seconds: int,
    now: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> CommandGroup:
    """Return the commands for the secrets of a client."""
    group = CommandGroup("secrets", help="The secrets of a client: two can be live at a time.")
    delivery = SecretDelivery(registry.database, vault, now, pause, say)
    old_secret = OldSecret(registry.database, token_lifetime_seconds, now, pause, say)
    add_rotate_command(group, registry, delivery, old_secret, now)

    @group.command("add")
    @click.argument("client")
    @secret_lifetime
    @to_vault()
    @as_json
    def add(client: str, lifetime_days: int | None, to_vault: str | None, as_json: bool) -> None:
        """Make one more secret for CLIENT; the one that it has goes on working."""
        end = end_after(lifetime_days, now)
        if to_vault is None:
            made = registry.secrets.add(client, expires_at=end)
            print_once(made, as_json, {"client_id": client})
            return
        with run_if_it_fails(f"secrets add {client} --to-vault {to_vault}"):
            delivered = delivery.fulfil(Order(client, to_vault, end))
        print_delivered(delivered.new, as_json, {"client_id": client})

    @group.command("list")
    @click.argument("client")
    @as_json
    def list_(client: str, as_json: bool) -> None:
        """List the secrets of CLIENT: their ids and times, as nobody knows the secrets."""
        rows = [_secret_row(secret, now()) for secret in registry.secrets.all_of(client)]
        print_rows(rows, as_json)

    @group.command("ending")
    @click.option("--within", type=duration, default="14d", show_default=True)
    @as_json
    def ending(within: int, as_json: bool) -> None:
        """List the secrets that end soon and leave their client with none."""
        found = registry.secrets.ending_before(now() + within)
        print_rows([_secret_of_any_client(secret, now()) for secret in found], as_json)

    @group.command("check")
    @click.argument("file", type=click.File("r", errors="replace"), default="-")
    @as_json
    def check(file: IO[str], as_json: bool) -> None:
        """Tell whose the secrets are that stand in FILE (`-`, the default: standard input).

        A secret is known by its form and checksum, and is not printed.
        """
        rows = []
        for number, line in enumerate(file, start=1):
            for secret in secrets_in(line):
                found = registry.secrets.find(secret)
                rows.append({"line": number, **_finding(found, now())})
        print_rows(rows, as_json)

    @group.command("revoke")
    @click.argument("client")
    @click.argument("secret_id")
    @yes
    @as_json
    def revoke(client: str, secret_id: str, yes: bool, as_json: bool) -> None:
        """End a secret of CLIENT at once."""
        registry.clients.get(client)
        confirm(f"Whoever uses the secret {secret_id} of {client} gets no more tokens", yes)
        registry.secrets.revoke(client, secret_id)
        print_object({"client_id": client, "secret_id": secret_id, "state": "revoked"}, as_json)

    return group


def _secret_row(secret: ClientSecret, now: float) -> dict[str, object]:
    return {
        "secret_id": secret.secret_id,
        "state": state_of(secret, now),
        "created_at": date(secret.created_at),
        "expires_at": date(secret.expires_at),
        "last_used_at": date(secret.last_used_at),
        "vault_entry": secret.vault_entry,
    }


def _secret_of_any_client(secret: ClientSecret, now: float) -> dict[str, object]:
    return {"client_id": secret.client_id, **_secret_row(secret, now)}


def _finding(secret: ClientSecret | None, now: float) -> dict[str, object]:
    """Return whose a secret is; one that is nobody's here may be another server's."""
    return {
        "state": state_of(secret, now) if secret else "unknown",
        "client_id": secret and secret.client_id,
        "secret_id": secret and secret.secret_id,
        "expires_at": secret and date(secret.expires_at),
        "last_used_at": secret and date(secret.last_used_at),
    }
