"""The key vault: where credentials rest, behind one small interface.

An entry has a name and a few named fields, all text. The default provider is a directory; the
other one is a server, OpenBao or HashiCorp Vault.
"""

from collections.abc import Mapping
from typing import Protocol

from shared.settings import VaultSettings, setting_name
from shared.vault.directory import DirectoryVault
from shared.vault.errors import (
    EntryNotFoundError,
    VaultAnswerError,
    VaultError,
    VaultForbiddenError,
    VaultLoginRefusedError,
    VaultSealedError,
    VaultUnreachableError,
)

__all__ = [
    "DirectoryVault",
    "EntryNotFoundError",
    "Vault",
    "VaultAnswerError",
    "VaultError",
    "VaultForbiddenError",
    "VaultLoginRefusedError",
    "VaultSealedError",
    "VaultUnreachableError",
    "open_vault",
]


class Vault(Protocol):
    """What every provider offers."""

    def read(self, entry: str) -> dict[str, str]:
        """Return the fields of ``entry``, all of one version.

        Raises EntryNotFoundError where there is none, VaultError where it cannot be read.
        """
        ...

    def write(self, entry: str, fields: Mapping[str, str]) -> None:
        """Replace ``entry`` by ``fields``: a reader sees the old ones or the new, never a mix.

        Raises VaultError where it cannot be written.
        """
        ...


def open_vault(settings: VaultSettings) -> Vault:
    """Return the vault that the settings name; it is asked nothing yet.

    Raises SystemExit where its provider is not installed.
    """
    if settings.vault == "directory":
        return DirectoryVault(settings.vault_directory)
    return _openbao(settings)


def _openbao(settings: VaultSettings) -> Vault:
    try:  # imported here: who keeps credentials in a directory does not need hvac
        from shared.vault.app_role import AppRole
        from shared.vault.openbao import OpenBaoVault
        from shared.vault.server import VaultServer
    except ModuleNotFoundError as error:
        if error.name != "hvac":
            raise
        raise SystemExit(
            f"{setting_name(type(settings), 'vault')}: `openbao` needs the package hvac, "
            "which the extra `openbao` of this project installs"
        ) from error
    url, role_id, secret_id = settings.vault_url, settings.vault_role_id, settings.vault_secret_id
    assert url is not None  # nor the other two: the settings have seen to it
    assert role_id is not None
    assert secret_id is not None
    server = VaultServer(url, settings.vault_ca_file)
    return OpenBaoVault(server, AppRole(server, role_id, secret_id), settings.vault_mount)
