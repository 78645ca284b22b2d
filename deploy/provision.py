"""Provisions the containers: `python -m deploy.provision`, in the authorization server's image."""

import os
import sys
from subprocess import CompletedProcess

from auth_server.app import create_app
from deploy.provisioning import ProvisioningError, register, replace_credentials
from deploy.vault_api import VaultApi, VaultRefusedError
from deploy.vault_setup import MOUNT
from shared.identifiers import DEMO_CLIENT
from shared.settings import secrets_dir


def provision() -> None:
    """Register bank and client, and give the client a secret where the vault has none."""
    commands = create_app().test_cli_runner()  # in this process: it starts once

    def flask(*arguments: str) -> CompletedProcess[str]:
        result = commands.invoke(args=arguments)
        return CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)

    register(flask, os.environ["BANK_URL"])
    if not entry_is_there(VaultApi(os.environ["AUTH_SERVER_VAULT_URL"])):
        replace_credentials(flask)


def entry_is_there(vault: VaultApi) -> bool:
    """Ask, as the authorization server, whether the newest version of the entry can be read."""
    ids = {name: _secret(f"auth_server_vault_{name}") for name in ("role_id", "secret_id")}
    token = vault.do("POST", "auth/approle/login", body=ids)["auth"]["client_token"]
    path = f"{MOUNT}/metadata/{DEMO_CLIENT}"
    status, document = vault.ask("GET", path, token)
    if status == 404:
        return False
    if status != 200:
        raise VaultRefusedError(f"the vault answered {status} to GET {path}")
    newest = document["data"]["versions"].get(str(document["data"]["current_version"]), {})
    return bool(newest) and not newest["deletion_time"] and not newest["destroyed"]


def _secret(name: str) -> str:
    return (secrets_dir() / name).read_text().strip()


if __name__ == "__main__":
    try:
        provision()
    except (ProvisioningError, VaultRefusedError, OSError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"the vault holds the credentials of {DEMO_CLIENT}\n")
