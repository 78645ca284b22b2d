"""`flask --app auth_server.app clients …`."""

from collections.abc import Callable
from typing import IO

import click

from auth_server.cli.client_keys import client_jwks, keys_of_client
from auth_server.cli.client_limits import add_limit_commands, lifetime_type
from auth_server.cli.confirmation import confirm, yes
from auth_server.cli.credentials import (
    end_after,
    print_delivered,
    print_once,
    run_if_it_fails,
    secret_lifetime,
    to_vault,
)
from auth_server.cli.group import CommandGroup
from auth_server.cli.output import as_json, print_object, print_rows
from auth_server.client_authentication import METHODS, private_key_jwt
from auth_server.client_jwks import registered_keys
from auth_server.models import Client
from auth_server.registry import RegisteredClient, Registry
from auth_server.registry.secret_delivery import SecretDelivery
from auth_server.settings import AuthServerSettings
from shared.vault import Vault


def clients_group(
    registry: Registry, vault: Vault, settings: AuthServerSettings, now: Callable[[], float]
) -> CommandGroup:
    """Return the commands for the clients."""
    group = CommandGroup("clients", help="The clients that may ask for tokens.")
    delivery = SecretDelivery(registry.database, vault, now)

    def print_client(name: str, as_json: bool) -> None:
        print_object(_client_object(registry.clients.get(name)), as_json)

    @group.command("add")
    @click.argument("name")
    @click.option("--scope", "scopes", multiple=True, help="A scope it may have; none: all.")
    @click.option("--no-scope", is_flag=True, help="No scope at all: it may have no token.")
    @click.option(
        "--resource", "resources", multiple=True, help="Of which resource; none: default."
    )
    @click.option("--auth-method", type=click.Choice(METHODS), default=METHODS[0])
    @keys_of_client
    @click.option("--no-id-token", is_flag=True, help="Refuse it `openid`.")
    @click.option(
        "--introspects",
        metavar="URI",
        help="It is the resource server of URI: it may look into its tokens.",
    )
    @click.option(
        "--lifetime",
        type=lifetime_type(settings),
        metavar="SECONDS",
        help="How long its access tokens are valid; none: as the settings say.",
    )
    @secret_lifetime
    @to_vault()
    @as_json
    def add(
        name: str,
        scopes: tuple[str, ...],
        no_scope: bool,
        resources: tuple[str, ...],
        auth_method: str,
        jwks: IO[bytes] | None,
        jwks_uri: str | None,
        no_id_token: bool,
        introspects: str | None,
        lifetime: int | None,
        lifetime_days: int | None,
        to_vault: str | None,
        as_json: bool,
    ) -> None:
        """Register a client called NAME, which is its client_id.

        Its first secret is made, too; with --auth-method private_key_jwt it has keys instead.
        """
        if no_scope and scopes:
            raise click.UsageError("--scope and --no-scope exclude each other")
        # A resource server that asks for no tokens of its own is the rule.
        has_none = no_scope or (introspects is not None and not scopes and not resources)
        registry.clients.refuse_taken(name)
        if auth_method in private_key_jwt.METHODS:
            if lifetime_days is not None or to_vault is not None:
                raise click.UsageError("a client that signs has no secret to end or to put away")
            registry.clients.add_with_keys(
                name,
                client_jwks(jwks, jwks_uri, settings),
                resources=resources,
                scopes=() if has_none else scopes or None,
                authentication_method=auth_method,
                may_have_id_token=not no_id_token,
                access_token_lifetime_seconds=lifetime,
                introspects=introspects,
            )
            print_client(name, as_json)
            return
        if jwks is not None or jwks_uri is not None:
            raise click.UsageError("--jwks and --jwks-uri go with --auth-method private_key_jwt")
        made = registry.clients.add(
            name,
            resources=resources,
            scopes=() if has_none else scopes or None,
            authentication_method=auth_method,
            may_have_id_token=not no_id_token,
            access_token_lifetime_seconds=lifetime,
            introspects=introspects,
            expires_at=end_after(lifetime_days, now),
            place=delivery.place(to_vault) if to_vault else None,
        )
        client = _client_object(registry.clients.get(name))
        if to_vault is None:
            print_once(made, as_json, client)
            return
        with run_if_it_fails(f"secrets add {name} --to-vault {to_vault}"):
            print_delivered(delivery.deliver(made).new, as_json, client)

    @group.command("list")
    @click.option("--limit", type=click.IntRange(min=1), help="At most so many; none: all.")
    @click.option("--after", default="", metavar="NAME", help="Only those after NAME: a next page.")
    @as_json
    def list_(limit: int | None, after: str, as_json: bool) -> None:
        """List the clients by name."""
        print_rows(map(_client_row, registry.clients.each(after, limit)), as_json)

    @group.command("show")
    @click.argument("name")
    @as_json
    def show(name: str, as_json: bool) -> None:
        """Show what a client may have."""
        print_client(name, as_json)

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
        registry.clients.grant(
            name, resource=resource, scopes=scopes or None, is_default=is_default
        )
        print_client(name, as_json)

    add_limit_commands(group, registry, settings, print_client)

    @group.command("set-keys")
    @click.argument("name")
    @keys_of_client
    @as_json
    def set_keys(name: str, jwks: IO[bytes] | None, jwks_uri: str | None, as_json: bool) -> None:
        """Replace the public keys of a client that signs; those it had are refused at once.

        To change a key without a pause, give both, the old and the new one, and later the new one.
        """
        registry.clients.set_keys(name, client_jwks(jwks, jwks_uri, settings))
        print_client(name, as_json)

    @group.command("disable")
    @click.argument("name")
    @as_json
    def disable(name: str, as_json: bool) -> None:
        """Let a client have no more tokens; those it has live until they expire."""
        registry.clients.disable(name)
        print_object({"client_id": name, "disabled": True}, as_json)

    @group.command("enable")
    @click.argument("name")
    @as_json
    def enable(name: str, as_json: bool) -> None:
        """Let a client that was disabled have tokens again, with the secrets that it has."""
        registry.clients.enable(name)
        print_object({"client_id": name, "disabled": False}, as_json)

    @group.command("remove")
    @click.argument("name")
    @yes
    @as_json
    def remove(name: str, yes: bool, as_json: bool) -> None:
        """Remove a client and its secrets for good; tokens it has live until they expire."""
        registry.clients.get(name)
        confirm(f"{name}, its secrets and what it may have are removed for good", yes)
        registry.clients.remove(name)
        print_object({"client_id": name, "removed": True}, as_json)

    return group


def _client_object(client: RegisteredClient) -> dict[str, object]:
    rights = client.rights
    return {
        "client_id": client.client_id,
        "token_endpoint_auth_method": client.authentication_method,
        "scope": " ".join(rights.scopes.get(rights.default_resource or "", ())),
        "default_resource": rights.default_resource,
        "scopes": {resource: list(names) for resource, names in rights.scopes.items()},
        "id_token": rights.may_have_id_token,
        **_keys_shown(client),
        "lifetime": client.access_token_lifetime_seconds,
        "disabled": client.is_disabled,
        "introspects": client.introspects,
    }


def _keys_shown(client: RegisteredClient) -> dict[str, object]:
    if client.jwks_uri is not None:
        return {"jwks_uri": client.jwks_uri}
    if client.jwks is not None:
        return {"keys": {key.name: list(key.algorithms) for key in registered_keys(client.jwks)}}
    return {}


def _client_row(client: Client) -> dict[str, object]:
    return {
        "client_id": client.client_id,
        "token_endpoint_auth_method": client.authentication_method,
        "default_resource": client.default_resource,
        "id_token": client.may_have_id_token,
        "disabled": client.disabled_at is not None,
    }
