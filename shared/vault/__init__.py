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
    VaultConflictError,
    VaultError,
    VaultForbiddenError,
    VaultLoginRefusedError,
    VaultSealedError,
    VaultUnreachableError,
)
from shared.vault.versions import EntryVersion

__all__ = [
    "DirectoryVault",
    "EntryNotFoundError",
    "EntryVersion",
    "Vault",
    "VaultAnswerError",
    "VaultConflictError",
    "VaultError",
    "VaultForbiddenError",
    "VaultLoginRefusedError",
    "VaultSealedError",
    "VaultUnreachableError",
    "open_vault",
]


class Vault(Protocol):
    """What every provider offers."""

    late_write_seconds: float
    """How long a write may still reach the vault after the process that wrote has died."""

    def read(self, entry: str) -> dict[str, str]:
        """Return the fields of ``entry``, all of one version.

        Raises EntryNotFoundError where there is none, VaultError where it cannot be read.
        """
        ...

    def version(self, entry: str) -> EntryVersion:
        """Return the newest version of ``entry``; it needs no right to read what it holds.

        Raises VaultError where it cannot be told.
        """
        ...

    def write(
        self, entry: str, fields: Mapping[str, str], expected_version: int | None = None
    ) -> int:
        """Replace ``entry`` by ``fields`` and return the number of the version that holds them.

        A reader sees the old fields or the new, never a mix. Where ``expected_version`` is given
        it is the number of the version that is replaced.
        Raises VaultConflictError where it is another one by now, VaultError where the entry
        cannot be written or nobody can say whether it was.
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
