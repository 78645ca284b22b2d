"""`flask --app auth_server.app resources …`."""

import click

from auth_server.cli.confirmation import confirm, yes
from auth_server.cli.group import CommandGroup
from auth_server.cli.output import as_json, print_object, print_rows
from auth_server.registry import Registry, RegistryError

force = click.option("--force", is_flag=True, help="Also where clients have it: they lose it.")


def resources_group(registry: Registry) -> CommandGroup:
    """Return the commands for the resources."""
    group = CommandGroup("resources", help="The APIs that tokens are made for.")

    @group.command("add")
    @click.argument("uri")
    @click.option("--scope", "scopes", multiple=True, required=True, help="A scope it knows.")
    @click.option("--default", "is_default", is_flag=True, help="For clients that name none.")
    @as_json
    def add(uri: str, scopes: tuple[str, ...], is_default: bool, as_json: bool) -> None:
        """Register the API called URI (its tokens' `aud`); again with the same scopes is fine."""
        registry.resources.add(uri, scopes, is_default=is_default)
        print_object(_resource_row(registry, uri), as_json)

    @group.command("list")
    @as_json
    def list_(as_json: bool) -> None:
        """List the resources."""
        print_rows(_resource_rows(registry), as_json)

    @group.command("add-scope")
    @click.argument("uri")
    @click.argument("scopes", metavar="SCOPE...", nargs=-1, required=True)
    @as_json
    def add_scope(uri: str, scopes: tuple[str, ...], as_json: bool) -> None:
        """Let the API called URI know further scopes; no client has them yet: `clients grant`."""
        registry.resources.add_scopes(uri, scopes)
        print_object(_resource_row(registry, uri), as_json)

    @group.command("remove-scope")
    @click.argument("uri")
    @click.argument("scopes", metavar="SCOPE...", nargs=-1, required=True)
    @force
    @yes
    @as_json
    def remove_scope(
        uri: str, scopes: tuple[str, ...], force: bool, yes: bool, as_json: bool
    ) -> None:
        """Remove scopes of the API called URI."""
        holders = _holders(registry, uri, scopes, force)
        names = " ".join(scopes)
        confirm(f"{uri} loses {names}; clients that lose it as well: {holders}", yes)
        registry.resources.remove_scopes(uri, scopes, from_clients=force)
        print_object({**_resource_row(registry, uri), "clients": holders}, as_json)

    @group.command("remove")
    @click.argument("uri")
    @force
    @yes
    @as_json
    def remove(uri: str, force: bool, yes: bool, as_json: bool) -> None:
        """Remove the API called URI: nobody has tokens for it any more."""
        holders = _holders(registry, uri, None, force)
        confirm(f"{uri} is removed; clients that have no more tokens for it: {holders}", yes)
        registry.resources.remove(uri, from_clients=force)
        print_object({"uri": uri, "removed": True, "clients": holders}, as_json)

    return group


def _holders(registry: Registry, uri: str, scopes: tuple[str, ...] | None, force: bool) -> int:
    """Return how many clients have it; raise RegistryError where it may not be taken from them."""
    holders = registry.resources.holders(uri, scopes)
    if holders and not force:
        raise RegistryError(
            f"clients that have it: {holders}. Take it from them with `clients ungrant`, "
            "or from all of them with --force"
        )
    return holders


def _resource_row(registry: Registry, uri: str) -> dict[str, object]:
    return next(row for row in _resource_rows(registry) if row["uri"] == uri)


def _resource_rows(registry: Registry) -> list[dict[str, object]]:
    return [
        {"uri": resource.uri, "scope": " ".join(scopes), "default": resource.is_default}
        for resource, scopes in registry.resources.all()
    ]
