"""`flask --app auth_server.app clients set|ungrant …`: the limits of a client."""

from collections.abc import Callable
from typing import Literal

import click

from auth_server.cli.group import CommandGroup
from auth_server.cli.output import as_json
from auth_server.registry import DEFAULT, Registry
from auth_server.settings import AuthServerSettings

SHORTEST_LIFETIME_SECONDS = 10
"""A shorter one ends before a slow network has delivered it, and a client asks without end."""


def lifetime_type(settings: AuthServerSettings) -> click.IntRange:
    """Return the type of an option that is a lifetime in seconds."""
    return click.IntRange(SHORTEST_LIFETIME_SECONDS, settings.access_token_lifetime_max_seconds)


def add_limit_commands(
    group: CommandGroup,
    registry: Registry,
    settings: AuthServerSettings,
    show: Callable[[str, bool], None],
) -> None:
    """Add the commands to ``group``; ``show`` prints a client, as JSON or not."""
    seconds = lifetime_type(settings)

    def seconds_or_default(
        context: click.Context, option: click.Parameter, value: str | None
    ) -> int | str | None:
        return value if value in (None, DEFAULT) else seconds(value, option, context)

    @group.command("set")
    @click.argument("name")
    @click.option(
        "--lifetime",
        metavar="SECONDS|default",
        callback=seconds_or_default,
        help="How long its access tokens are valid.",
    )
    @click.option("--id-token/--no-id-token", default=None, help="Whether it may have `openid`.")
    @click.option("--default-resource", metavar="URI", help="For requests that name none.")
    @as_json
    def set_(
        name: str,
        lifetime: int | Literal["default"] | None,
        id_token: bool | None,
        default_resource: str | None,
        as_json: bool,
    ) -> None:
        """Change the limits of a client: what is given, and nothing else."""
        if (lifetime, id_token, default_resource) == (None, None, None):
            raise click.UsageError("say what to set: --help lists it")
        registry.limits.change(
            name,
            lifetime_seconds=lifetime,
            may_have_id_token=id_token,
            default_resource=default_resource,
        )
        show(name, as_json)

    @group.command("ungrant")
    @click.argument("name")
    @click.option("--scope", "scopes", multiple=True, help="A scope to take; none: all.")
    @click.option("--resource", help="Of which resource; none: the default one.")
    @as_json
    def ungrant(name: str, scopes: tuple[str, ...], resource: str | None, as_json: bool) -> None:
        """Take scopes of a resource from a client; tokens it has keep them until they expire."""
        registry.limits.ungrant(name, resource=resource, scopes=scopes or None)
        show(name, as_json)
