"""The options that give a client its public keys: `--jwks FILE`, or `--jwks-uri URL`."""

from collections.abc import Callable
from typing import IO, Any, Final, TypeVar

import click

from auth_server.client_jwks import ClientJwks, inline_jwks, jwks_at
from auth_server.jwk import UnsuitableKeyError
from auth_server.settings import AuthServerSettings
from auth_server.signed_jwt import json_object
from shared.settings import setting_name

LARGEST_SET_BYTES: Final = 64 * 1024

Command = TypeVar("Command", bound=Callable[..., Any])


def keys_of_client(command: Command) -> Command:
    """Give ``command`` the two options."""
    jwks = click.option(
        "--jwks",
        type=click.File("rb"),
        metavar="FILE",
        help="The public keys of a client that signs: a JWK Set (`-`: standard input).",
    )
    jwks_uri = click.option("--jwks-uri", metavar="URL", help="Or where to fetch them.")
    return jwks(jwks_uri(command))


def client_jwks(
    jwks: IO[bytes] | None, jwks_uri: str | None, settings: AuthServerSettings
) -> ClientJwks:
    """Return what the options gave; exactly one has to be there.

    Raises click's errors, and UnsuitableKeyError for keys that are not taken.
    """
    if jwks is not None and jwks_uri is None:
        return _from_file(jwks)
    if jwks_uri is not None and jwks is None:
        return _from_uri(jwks_uri, settings)
    raise click.UsageError("a client that signs has either --jwks FILE or --jwks-uri URL")


def _from_file(jwks: IO[bytes]) -> ClientJwks:
    text = jwks.read(LARGEST_SET_BYTES + 1)
    if len(text) > LARGEST_SET_BYTES:
        raise click.ClickException(f"--jwks: more than {LARGEST_SET_BYTES} bytes")
    try:
        return inline_jwks(json_object(text))
    except ValueError as error:
        raise click.ClickException(f"--jwks: no JSON object: {error}") from error
    except UnsuitableKeyError as error:
        raise click.ClickException(f"--jwks: {error}") from error


def _from_uri(uri: str, settings: AuthServerSettings) -> ClientJwks:
    try:
        return jwks_at(uri, may_be_plain_http=settings.jwks_uri_may_be_plain_http)
    except ValueError as error:
        may_be_internal = setting_name(AuthServerSettings, "jwks_uri_may_be_internal")
        raise click.BadParameter(
            f"{error} ({may_be_internal} is what allows plain http in a demonstration)",
            param_hint="--jwks-uri",
        ) from error
