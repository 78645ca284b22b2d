"""The command line: `flask --app auth_server.app clients|secrets|resources|keys …`.

Exit codes: 0 done, 1 an error or a question answered with no, 2 wrong usage, 3 it exists already.
Results go to standard output, as a table or, with `--json`, as JSON; everything else to standard
error, the audit trail's line on what was changed among it.
"""

import time
from collections.abc import Callable

from auth_server.cli.client_secrets import secrets_group
from auth_server.cli.clients import clients_group
from auth_server.cli.group import CommandGroup
from auth_server.cli.keys import keys_group
from auth_server.cli.resources import resources_group
from auth_server.registry import Registry
from auth_server.settings import AuthServerSettings
from auth_server.signing_keys import SigningKeys
from shared.vault import Vault


def command_groups(
    registry: Registry,
    keys: SigningKeys,
    vault: Vault,
    settings: AuthServerSettings,
    now: Callable[[], float] = time.time,
) -> list[CommandGroup]:
    """Return the groups of commands."""
    return [
        clients_group(registry, vault, settings, now),
        secrets_group(registry, vault, settings.access_token_lifetime_seconds, now),
        resources_group(registry),
        keys_group(keys),
    ]
