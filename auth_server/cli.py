"""The command line: `flask --app auth_server.app clients|secrets|resources|keys …`.

Exit codes: 0 done, 1 an error, 2 wrong usage, 3 it exists already. Results go to standard
output, as a table or, with `--json`, as JSON; everything else to standard error.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import OperationalError, ProgrammingError

from auth_server.client_authentication import METHODS
from auth_server.jwk import ALGORITHMS, UnsuitableKeyError, imported_private_key, new_private_key
from auth_server.models import Client, ClientSecret, SigningKey
from auth_server.registry import (
    AlreadyRegisteredError,
    NewSecret,
    RegisteredClient,
    Registry,
    RegistryError,
    is_live,
)
from auth_server.settings import SigningAlgorithm
from auth_server.signing_keys import KeyExistsError, KeysCannotBeOpenedError, SigningKeys
from shared.identifiers import VAULT_CLIENT_ID, VAULT_CLIENT_SECRET, is_identifier
from shared.service_logging import configure_logging
from shared.vault import Vault, VaultError

SECONDS_PER_DAY = 86400

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


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
lifetime = click.option(
    "--lifetime-days", type=click.IntRange(min=1), help="When the secret ends; never without it."
)


class ExistsAlreadyError(click.ClickException):
    """It exists already: exit code 3, so that a script can tell."""

    exit_code = 3


class CommandGroup(AppGroup):
    """Shows what the register, the vault or the database refuse as one line, with no trace."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        configure_logging("auth_server", "WARNING")
        try:
            return super().invoke(ctx)
        except (AlreadyRegisteredError, KeyExistsError) as error:
            raise ExistsAlreadyError(str(error)) from error
        except (RegistryError, UnsuitableKeyError, KeysCannotBeOpenedError, VaultError) as error:
            raise click.ClickException(str(error)) from error
        except (OperationalError, ProgrammingError) as error:
            raise click.ClickException(
                "the database cannot be used: is it there, and has "
                "`flask --app auth_server.app migrate` been run?"
            ) from error


def command_groups(
    registry: Registry, keys: SigningKeys, vault: Vault, now: Callable[[], float] = time.time
) -> list[CommandGroup]:
    """Return the groups of commands."""
    return [
        _clients(registry, vault, now),
        _secrets(registry, vault, now),
        _resources(registry),
        _keys(keys),
    ]


def _clients(registry: Registry, vault: Vault, now: Callable[[], float]) -> CommandGroup:
    group = CommandGroup("clients", help="The clients that may ask for tokens.")

    @group.command("add")
    @click.argument("name")
    @click.option("--scope", "scopes", multiple=True, help="A scope it may have; none: all.")
    @click.option("--no-scope", is_flag=True, help="No scope at all: it may have no token.")
    @click.option(
        "--resource", "resources", multiple=True, help="Of which resource; none: default."
    )
    @click.option("--auth-method", type=click.Choice(METHODS), default=METHODS[0])
    @click.option("--no-id-token", is_flag=True, help="Refuse it `openid`.")
    @lifetime
    @to_vault
    @as_json
    def add(
        name: str,
        scopes: tuple[str, ...],
        no_scope: bool,
        resources: tuple[str, ...],
        auth_method: str,
        no_id_token: bool,
        lifetime_days: int | None,
        to_vault: str | None,
        as_json: bool,
    ) -> None:
        """Register a client called NAME, which is its client_id, and make its first secret."""
        if no_scope and scopes:
            raise click.UsageError("--scope and --no-scope exclude each other")
        made = registry.add_client(
            name,
            resources=resources,
            scopes=() if no_scope else scopes or None,
            authentication_method=auth_method,
            may_have_id_token=not no_id_token,
            expires_at=_end(lifetime_days, now),
            delivered=to_vault is None,
        )
        client = registry.client(name)
        _hand_over(registry, vault, made, to_vault, as_json, _client_object(client))

    @group.command("list")
    @as_json
    def list_(as_json: bool) -> None:
        """List the clients."""
        _print_rows([_client_row(client) for client in registry.clients()], as_json)

    @group.command("show")
    @click.argument("name")
    @as_json
    def show(name: str, as_json: bool) -> None:
        """Show what a client may have."""
        client = registry.client(name)
        _print_object({**_client_object(client), "disabled": client.is_disabled}, as_json)

    @group.command("grant")
    @click.argument("name")
    @click.option("--scope", "scopes", multiple=True, help="A scope it may have; none: all.")
    @click.option("--resource", help="Of which resource; none: the default one.")
    @click.option("--default", "is_default", is_flag=True, help="For requests that name none.")
    @as_json
    def grant(
        name: str, scopes: tuple[str, ...], resource: str | None, is_default: bool, as_json: bool
    ) -> None:
        """Let a client have further scopes of a resource; it keeps what it has."""
        registry.grant_scopes(name, resource=resource, scopes=scopes or None, is_default=is_default)
        _print_object(_client_object(registry.client(name)), as_json)

    @group.command("disable")
    @click.argument("name")
    @as_json
    def disable(name: str, as_json: bool) -> None:
        """Let a client have no more tokens; those it has live until they expire."""
        registry.disable_client(name)
        _print_object({"client_id": name, "disabled": True}, as_json)

    return group


def _secrets(registry: Registry, vault: Vault, now: Callable[[], float]) -> CommandGroup:
    group = CommandGroup("secrets", help="The secrets of a client: two can be live at a time.")

    @group.command("add")
    @click.argument("client")
    @lifetime
    @to_vault
    @as_json
    def add(client: str, lifetime_days: int | None, to_vault: str | None, as_json: bool) -> None:
        """Make one more secret for CLIENT; the one that it has goes on working."""
        delivered = to_vault is None
        end = _end(lifetime_days, now)
        made = registry.add_secret(client, expires_at=end, delivered=delivered)
        _hand_over(registry, vault, made, to_vault, as_json, {"client_id": client})

    @group.command("list")
    @click.argument("client")
    @as_json
    def list_(client: str, as_json: bool) -> None:
        """List the secrets of CLIENT: their ids and times, as nobody knows the secrets."""
        rows = [_secret_row(secret, now()) for secret in registry.secrets(client)]
        _print_rows(rows, as_json)

    @group.command("revoke")
    @click.argument("client")
    @click.argument("secret_id")
    @as_json
    def revoke(client: str, secret_id: str, as_json: bool) -> None:
        """End a secret of CLIENT at once."""
        registry.revoke_secret(client, secret_id)
        _print_object({"client_id": client, "secret_id": secret_id, "state": "revoked"}, as_json)

    return group


def _resources(registry: Registry) -> CommandGroup:
    group = CommandGroup("resources", help="The APIs that tokens are made for.")

    @group.command("add")
    @click.argument("uri")
    @click.option("--scope", "scopes", multiple=True, required=True, help="A scope it knows.")
    @click.option("--default", "is_default", is_flag=True, help="For clients that name none.")
    @as_json
    def add(uri: str, scopes: tuple[str, ...], is_default: bool, as_json: bool) -> None:
        """Register the API called URI (its tokens' `aud`); again with the same scopes is fine."""
        registry.add_resource(uri, scopes, is_default=is_default)
        _print_object(next(row for row in _resource_rows(registry) if row["uri"] == uri), as_json)

    @group.command("list")
    @as_json
    def list_(as_json: bool) -> None:
        """List the resources."""
        _print_rows(_resource_rows(registry), as_json)

    return group


def _keys(keys: SigningKeys) -> CommandGroup:
    group = CommandGroup("keys", help="The keys that tokens are signed with.")

    @group.command("list")
    @as_json
    def list_(as_json: bool) -> None:
        """List the keys: pending, active and retired."""
        _print_rows([_key_row(row, state) for row, state in keys.states()], as_json)

    @group.command("generate")
    @click.option("--algorithm", type=click.Choice(ALGORITHMS), default=ALGORITHMS[0])
    @as_json
    def generate(algorithm: SigningAlgorithm, as_json: bool) -> None:
        """Make a key: published at once, active when every copy of the JWKS must have it."""
        keys.open_all()
        _print_added(keys.add(algorithm, new_private_key(algorithm)), as_json)

    @group.command("import")
    @click.argument("file", type=click.File("rb"))
    @as_json
    def import_(file: IO[bytes], as_json: bool) -> None:
        """Take a private JWK of one's own from FILE (`-`: standard input)."""
        try:
            jwk = json.loads(file.read())
        except ValueError as error:
            raise click.ClickException(f"{file.name} holds no JSON") from error
        if not isinstance(jwk, dict):
            raise click.ClickException(f"{file.name} holds no JWK: that is a JSON object")
        keys.open_all()
        _print_added(keys.add(*imported_private_key(jwk)), as_json)

    def _print_added(added: SigningKey | None, as_json: bool) -> None:
        assert added is not None, "only a first key may be left out"
        state = next(state for row, state in keys.states() if row.kid == added.kid)
        _print_object(_key_row(added, state), as_json)

    return group


def _hand_over(
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
        _print_object({**first, **shown}, as_json)
        return
    try:
        vault.write(entry, {VAULT_CLIENT_ID: made.client_id, VAULT_CLIENT_SECRET: made.secret})
    except VaultError as error:
        raise click.ClickException(
            f"{error}; when it can be, run `secrets add {made.client_id} --to-vault {entry}`"
        ) from error
    registry.mark_delivered(made.secret_id)
    _print_object({**shown, "vault_entry": entry}, as_json)


def _end(lifetime_days: int | None, now: Callable[[], float]) -> int | None:
    return None if lifetime_days is None else int(now()) + lifetime_days * SECONDS_PER_DAY


def _client_object(client: RegisteredClient) -> dict[str, object]:
    rights = client.rights
    return {
        "client_id": client.client_id,
        "token_endpoint_auth_method": client.authentication_method,
        "scope": " ".join(rights.scopes.get(rights.default_resource or "", ())),
        "default_resource": rights.default_resource,
        "scopes": {resource: list(names) for resource, names in rights.scopes.items()},
        "id_token": rights.may_have_id_token,
    }


def _client_row(client: Client) -> dict[str, object]:
    return {
        "client_id": client.client_id,
        "token_endpoint_auth_method": client.authentication_method,
        "default_resource": client.default_resource,
        "id_token": client.may_have_id_token,
        "disabled": client.disabled_at is not None,
    }


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
        "created_at": _date(secret.created_at),
        "expires_at": _date(secret.expires_at),
    }


def _resource_rows(registry: Registry) -> list[dict[str, object]]:
    return [
        {"uri": resource.uri, "scope": " ".join(scopes), "default": resource.is_default}
        for resource, scopes in registry.resources()
    ]


def _key_row(key: SigningKey, state: str) -> dict[str, object]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": state,
        "created_at": _date(key.created_at),
        "active_from": _date(key.active_from),
    }


def _date(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _print_object(row: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(row))
        return
    width = max(map(len, row))
    for name, value in row.items():
        click.echo(f"{name:<{width}}  {_text(value)}".rstrip())


def _print_rows(rows: Sequence[Mapping[str, object]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo("none")
        return
    table = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {' '.join(part)}" for name, part in value.items())
    return "-" if value is None else str(value)
