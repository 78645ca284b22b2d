"""Provisions the containers: `python -m deploy.provision`, in the authorization server's image."""

import os
import sys
from subprocess import CompletedProcess

from auth_server.app import create_app
from auth_server.settings import AuthServerSettings
from deploy.provisioning import ProvisioningError, register, replace_credentials
from shared.identifiers import DEMO_CLIENT
from shared.settings import read_settings
from shared.vault import VaultError, open_vault


def provision() -> None:
    """Register bank and client, and give the client a secret where the vault has none."""
    settings = read_settings(AuthServerSettings)
    commands = create_app(settings).test_cli_runner()  # in this process: it starts once

    def flask(*arguments: str) -> CompletedProcess[str]:
        result = commands.invoke(args=arguments)
        return CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)

    register(flask, os.environ["BANK_URL"])
    if not open_vault(settings).version(DEMO_CLIENT).is_readable:
        replace_credentials(flask)


if __name__ == "__main__":
    try:
        provision()
    except (ProvisioningError, VaultError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"the vault holds the credentials of {DEMO_CLIENT}\n")
