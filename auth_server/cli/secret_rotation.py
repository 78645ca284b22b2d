"""`flask --app auth_server.app secrets rotate …`: a new secret for a client, and no refusal."""

from collections.abc import Callable

import click

from auth_server.cli.credentials import (
    end_after,
    run_if_it_fails,
    say,
    secret_lifetime,
    secret_members,
    to_vault,
)
from auth_server.cli.durations import duration
from auth_server.cli.group import CommandGroup
from auth_server.cli.output import as_json, date, print_object
from auth_server.registry import Registry, state_of
from auth_server.registry.old_secret import OldSecret
from auth_server.registry.rotation import AlreadyRotatedError, Delivered, Order
from auth_server.registry.secret_delivery import SecretDelivery


def add_rotate_command(
    group: CommandGroup,
    registry: Registry,
    delivery: SecretDelivery,
    old_secret: OldSecret,
    now: Callable[[], float],
) -> None:
    """Add the command to ``group``."""

    @group.command("rotate")
    @click.argument("client")
    @click.option(
        "--overlap",
        type=duration,
        default="24h",
        show_default=True,
        help="How long the old secret works on: 90s, 15m, 24h, 7d.",
    )
    @to_vault(required=True)
    @click.option("--wait", is_flag=True, help="Wait until nobody uses the old one, then end it.")
    @secret_lifetime
    @as_json
    def rotate(
        client: str,
        overlap: int,
        to_vault: str,
        wait: bool,
        lifetime_days: int | None,
        as_json: bool,
    ) -> None:
        """Put a new secret for CLIENT into the vault; the old one ends after the overlap.

        Safe to run again after a crash: it finishes what was begun.
        """
        order = Order(client, to_vault, end_after(lifetime_days, now), overlap)
        with run_if_it_fails(f"secrets rotate {client} --to-vault {to_vault}"):
            delivered = _done_or_under_way(delivery, order, wait)
        if wait:
            _wait(old_secret, delivered)
        print_object(_rotation_object(registry, delivered, now()), as_json)


def _done_or_under_way(delivery: SecretDelivery, order: Order, wait: bool) -> Delivered:
    """Rotate; or, to wait for it, take up the rotation that was done and is in its overlap."""
    try:
        return delivery.fulfil(order)
    except AlreadyRotatedError as error:
        if not wait:
            raise
        return error.delivered


def _wait(old_secret: OldSecret, delivered: Delivered) -> None:
    try:
        old_secret.end_when_unused(delivered)
    except KeyboardInterrupt:
        say("stopped waiting: the old secret keeps its end; the same command goes on waiting")
        raise


def _rotation_object(registry: Registry, delivered: Delivered, now: float) -> dict[str, object]:
    """Return what a rotation did: the new secret, and the old one as it is now."""
    new, old = delivered.new, delivered.old
    rows = {row.secret_id: row for row in registry.secrets.all_of(new.client_id)}
    old = rows[old.secret_id] if old is not None else None
    return {
        "client_id": new.client_id,
        **secret_members(new),
        "vault_entry": new.vault_entry,
        "vault_version": new.vault_version,
        "old_secret_id": old and old.secret_id,
        "old_state": old and state_of(old, now),
        "old_expires_at": old and date(old.expires_at),
    }
