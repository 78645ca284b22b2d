"""Handing over a new secret: printed once, or put into the vault and printed nowhere."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click

from auth_server.cli.output import print_object
from auth_server.models import ClientSecret
from auth_server.registry import NewSecret
from shared.identifiers import is_identifier
from shared.vault import VaultError

SECONDS_PER_DAY = 86400
LONGEST_LIFETIME_DAYS = 36500

Command = Callable[..., None]


def _entry_name(_context: click.Context, _option: click.Parameter, entry: str | None) -> str | None:
    """Refuse a bad name here: later the register would have the secret and the vault would not."""
    if entry is not None and not is_identifier(entry):
        raise click.BadParameter("1 to 128 letters, digits, '-' and '_'")
    return entry


def to_vault(*, required: bool = False) -> Callable[[Command], Command]:
    """Return the option that names the vault's entry."""
    return click.option(
        "--to-vault",
        metavar="ENTRY",
        callback=_entry_name,
        required=required,
        help="Put the credentials into the vault; print no secret.",
    )


secret_lifetime = click.option(
    "--secret-lifetime-days",
    "lifetime_days",
    type=click.IntRange(1, LONGEST_LIFETIME_DAYS),
    help="When the secret ends; never without it.",
)


def say(text: str) -> None:
    """Tell the person at the terminal what goes on, beside the result."""
    click.echo(text, err=True)


@contextmanager
def run_if_it_fails(command: str) -> Iterator[None]:
    """Name the ``command`` that mends it where the vault cannot be used."""
    try:
        yield
    except VaultError as error:
        raise click.ClickException(f"{error}; when it can be, run `{command}`") from error


def print_once(made: NewSecret, as_json: bool, shown: Mapping[str, object]) -> None:
    """Print a new secret, the only time."""
    first = {"client_id": made.client_id, "client_secret": made.secret}
    print_object({**first, **shown, **secret_members(made)}, as_json)


def print_delivered(secret: ClientSecret, as_json: bool, shown: Mapping[str, object]) -> None:
    """Print what is known of a secret that the vault holds."""
    row = {**shown, **secret_members(secret), "vault_entry": secret.vault_entry}
    print_object(row, as_json)


def secret_members(secret: NewSecret | ClientSecret) -> dict[str, object]:
    """Return the members of a result that tell of a secret."""
    return {
        "secret_id": secret.secret_id,
        # RFC 7591 §3.2.1: required beside a secret; 0 is never.
        "client_secret_expires_at": secret.expires_at or 0,
    }


def end_after(lifetime_days: int | None, now: Callable[[], float]) -> int | None:
    """Return when a secret made now ends, in seconds since 1970; None: never."""
    return None if lifetime_days is None else int(now()) + lifetime_days * SECONDS_PER_DAY
