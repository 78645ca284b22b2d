"""Handing over a new secret: printed once, or put into the vault and printed nowhere."""

from collections.abc import Callable, Mapping

import click

from auth_server.cli.output import print_object
from auth_server.registry import NewSecret, Registry
from shared.identifiers import VAULT_CLIENT_ID, VAULT_CLIENT_SECRET, is_identifier
from shared.vault import Vault, VaultError

SECONDS_PER_DAY = 86400


def _entry_name(_context: click.Context, _option: click.Parameter, entry: str | None) -> str | None:
    """Refuse a bad name here: later the register would have the secret and the vault would not."""
    if entry is not None and not is_identifier(entry):
        raise click.BadParameter("1 to 128 letters, digits, '-' and '_'")
    return entry


to_vault = click.option(
    "--to-vault",
    metavar="ENTRY",
    callback=_entry_name,
    help="Put the credentials into the vault; print no secret.",
)
secret_lifetime = click.option(
    "--secret-lifetime-days",
    "lifetime_days",
    type=click.IntRange(min=1),
    help="When the secret ends; never without it.",
)


def hand_over(
    registry: Registry,
    vault: Vault,
    made: NewSecret,
    entry: str | None,
    as_json: bool,
    shown: Mapping[str, object],
) -> None:
    """Print a new secret, the only time; or put it into the vault, and print none.

    Its hash is stored already: whoever reads the vault finds credentials that work.
    """
    shown = {
        **shown,
        "secret_id": made.secret_id,
        # RFC 7591 §3.2.1: required beside a secret; 0 is never.
        "client_secret_expires_at": made.expires_at or 0,
    }
    if entry is None:
        first = {"client_id": made.client_id, "client_secret": made.secret}
        print_object({**first, **shown}, as_json)
        return
    try:
        vault.write(entry, {VAULT_CLIENT_ID: made.client_id, VAULT_CLIENT_SECRET: made.secret})
    except VaultError as error:
        raise click.ClickException(
            f"{error}; when it can be, run `secrets add {made.client_id} --to-vault {entry}`"
        ) from error
    registry.secrets.mark_delivered(made.secret_id)
    print_object({**shown, "vault_entry": entry}, as_json)


def end_after(lifetime_days: int | None, now: Callable[[], float]) -> int | None:
    """Return when a secret made now ends, in seconds since 1970; None: never."""
    return None if lifetime_days is None else int(now()) + lifetime_days * SECONDS_PER_DAY
