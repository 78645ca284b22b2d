"""`flask --app auth_server.app resources …`."""

import click

from auth_server.cli.group import CommandGroup
from auth_server.cli.output import as_json, print_object, print_rows
from auth_server.registry import Registry


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
        print_object(next(row for row in _resource_rows(registry) if row["uri"] == uri), as_json)

    @group.command("list")
    @as_json
    def list_(as_json: bool) -> None:
        """List the resources."""
        print_rows(_resource_rows(registry), as_json)

    return group


def _resource_rows(registry: Registry) -> list[dict[str, object]]:
    return [
        {"uri": resource.uri, "scope": " ".join(scopes), "default": resource.is_default}
        for resource, scopes in registry.resources.all()
    ]
