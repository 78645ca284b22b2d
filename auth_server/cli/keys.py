"""`flask --app auth_server.app keys …`."""

import json
from typing import IO

import click

from auth_server.cli.group import CommandGroup
from auth_server.cli.output import as_json, date, print_object, print_rows
from auth_server.jwk import ALGORITHMS, imported_private_key, new_private_key
from auth_server.models import SigningKey
from auth_server.settings import SigningAlgorithm
from auth_server.signing_keys import SigningKeys


def keys_group(keys: SigningKeys) -> CommandGroup:
    """Return the commands for the signing keys."""
    group = CommandGroup("keys", help="The keys that tokens are signed with.")

    @group.command("list")
    @as_json
    def list_(as_json: bool) -> None:
        """List the keys: pending, active and retired."""
        print_rows([_key_row(row, state) for row, state in keys.states()], as_json)

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
        print_object(_key_row(added, state), as_json)

    return group


def _key_row(key: SigningKey, state: str) -> dict[str, object]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": state,
        "created_at": date(key.created_at),
        "active_from": date(key.active_from),
    }
