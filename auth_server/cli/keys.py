"""`flask --app auth_server.app keys …`."""

import json
from collections.abc import Mapping, Sequence
from typing import IO, Any

import click

from auth_server import audit
from auth_server.cli.confirmation import confirm, yes
from auth_server.cli.group import CommandGroup
from auth_server.cli.key_rows import key_rows, old_copies_for_seconds, replaced_object
from auth_server.cli.output import as_json, print_object, print_rows
from auth_server.jwk import ALGORITHMS, imported_private_key, new_private_key
from auth_server.settings import SigningAlgorithm
from auth_server.signing_keys.by_hand import (
    Replaced,
    add_key,
    reencrypt,
    replace_lost,
    revoke,
    rotate,
)
from auth_server.signing_keys.change import times_of
from auth_server.signing_keys.life import is_published
from auth_server.signing_keys.store import KeyStore


def keys_group(store: KeyStore) -> CommandGroup:
    """Return the commands for the signing keys."""
    group = CommandGroup("keys", help="The keys that tokens are signed with.")

    @group.command("list")
    @as_json
    def list_(as_json: bool) -> None:
        """List the keys with their states and the times of each change, past and to come."""
        print_rows(key_rows(store), as_json)

    @group.command("generate")
    @click.option("--algorithm", type=click.Choice(ALGORITHMS), default=ALGORITHMS[0])
    @as_json
    def generate(algorithm: SigningAlgorithm, as_json: bool) -> None:
        """Make a key: published at once, active when every copy of the JWKS must have it."""
        _print_key(store, add_key(store, algorithm, new_private_key(algorithm)).kid, as_json)

    @group.command("import")
    @click.argument("file", type=click.File("rb"))
    @as_json
    def import_(file: IO[bytes], as_json: bool) -> None:
        """Take a private JWK of one's own from FILE (`-`: standard input)."""
        key = add_key(store, *imported_private_key(_jwk_in(file)))
        _print_key(store, key.kid, as_json)

    @group.command("rotate")
    @click.option("--algorithm", type=click.Choice(ALGORITHMS), help="None: each one in use.")
    @as_json
    def rotate_(algorithm: SigningAlgorithm | None, as_json: bool) -> None:
        """Let the next key sign as soon as it may, and say when; the old one stays published."""
        chosen = (algorithm,) if algorithm else store.rules.algorithms
        kids = [rotate(store, each).kid for each in chosen]
        audit.note(kid=" ".join(kids))
        print_rows([row for row in key_rows(store) if row["kid"] in kids], as_json)

    @group.command("revoke")
    @click.argument("kid", required=False)
    @click.option("--all", "all_keys", is_flag=True, help="Every key there is.")
    @yes
    @as_json
    def revoke_(kid: str | None, all_keys: bool, yes: bool, as_json: bool) -> None:
        """Drop a leaked key at once; the next one signs from now on."""
        if (kid is None) != all_keys:
            raise click.UsageError("name either a KID or --all")
        kids = [kid] if kid else _published_kids(store)
        confirm(_COST_OF_REVOKING.format(old_copies_for_seconds(store)), yes)
        _print_replaced(store, revoke(store, kids), as_json)

    @group.command("replace-lost")
    @yes
    @as_json
    def replace_lost_(yes: bool, as_json: bool) -> None:
        """Replace the keys that no key-encryption key opens any more."""
        confirm(_COST_OF_LOSING.format(old_copies_for_seconds(store)), yes)
        _print_replaced(store, replace_lost(store), as_json)

    @group.command("reencrypt")
    @as_json
    def reencrypt_(as_json: bool) -> None:
        """Encrypt every private key with the first key-encryption key; then the others may go."""
        done = reencrypt(store)
        left = [row for row in key_rows(store) if row["encrypted_with"] in {"other", "none"}]
        print_object({"reencrypted": done, "left_under_another": len(left)}, as_json)

    return group


_COST_OF_REVOKING = (
    "Tokens that it signed are refused by resource servers that fetch the keys again; the others "
    "may take them for {} s yet. Clients have to ask for new tokens"
)
_COST_OF_LOSING = (
    "If the key-encryption key is only mislaid, put it back instead. Else new keys sign at once, "
    "and resource servers that look up no unknown key refuse them for up to {} s"
)


def _jwk_in(file: IO[bytes]) -> Mapping[str, Any]:
    try:
        jwk = json.loads(file.read())
    except ValueError as error:
        raise click.ClickException(f"{file.name} holds no JSON") from error
    if not isinstance(jwk, dict):
        raise click.ClickException(f"{file.name} holds no JWK: that is a JSON object")
    return jwk


def _published_kids(store: KeyStore) -> Sequence[str]:
    times, now = times_of(store.rows()), store.now()
    return [key.kid for key in times if is_published(key, times, now)]


def _print_replaced(store: KeyStore, replaced: Replaced, as_json: bool) -> None:
    audit.note(kid=" ".join(replaced.kids))
    print_object(replaced_object(store, replaced), as_json)


def _print_key(store: KeyStore, kid: str, as_json: bool) -> None:
    print_object(next(row for row in key_rows(store) if row["kid"] == kid), as_json)
