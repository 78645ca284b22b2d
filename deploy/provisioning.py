"""Registers the bank and the client at the authorization server, by its own command line.

The client's credentials go from there into the vault; they are printed nowhere. Safe to run again.
The local stack does it as the containers do.
"""

import json
from collections.abc import Callable
from subprocess import CompletedProcess

from shared.identifiers import DEMO_CLIENT, SCOPE_READ, SCOPE_WRITE

EXISTS_ALREADY = 3

Flask = Callable[..., CompletedProcess[str]]
"""Runs a command of the authorization server: `flask --app auth_server.app ARGUMENTS`."""


class ProvisioningError(Exception):
    """A command failed; the text is its last line."""


def register(flask: Flask, bank_url: str) -> None:
    """Register the bank with its scopes, and the client with them."""
    scopes = ("--scope", SCOPE_READ, "--scope", SCOPE_WRITE)
    _do(flask, "resources", "add", bank_url, *scopes, "--default")
    added = flask("clients", "add", DEMO_CLIENT, "--to-vault", DEMO_CLIENT)
    if added.returncode == EXISTS_ALREADY:  # the bank may have moved to another port
        _do(flask, "clients", "grant", DEMO_CLIENT, "--default")
    elif added.returncode != 0:
        raise ProvisioningError(f"auth_server clients add: {last_line(added)}")


def replace_credentials(flask: Flask) -> None:
    """Put a new secret into the vault, which has none: a start was cut off, or it was lost.

    Nobody can know the old one then, so it is ended first.
    """
    listed = _do(flask, "secrets", "list", DEMO_CLIENT, "--json")
    for secret in json.loads(listed):
        if secret["state"] not in {"revoked", "expired"}:
            _do(flask, "secrets", "revoke", DEMO_CLIENT, secret["secret_id"], "--yes")
    _do(flask, "secrets", "add", DEMO_CLIENT, "--to-vault", DEMO_CLIENT)


def last_line(result: CompletedProcess[str]) -> str:
    """Return the last thing that a command said."""
    lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
    return lines[-1] if lines else f"ended with status {result.returncode}"


def _do(flask: Flask, *arguments: str) -> str:
    result = flask(*arguments)
    if result.returncode != 0:
        raise ProvisioningError(f"auth_server {' '.join(arguments[:2])}: {last_line(result)}")
    return result.stdout
