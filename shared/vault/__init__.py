"""The key vault: where credentials rest, behind one small interface.

An entry has a name and a few named fields, all text. The default provider is a directory.
"""

from collections.abc import Mapping
from typing import Protocol

from shared.settings import VaultSettings
from shared.vault.directory import DirectoryVault
from shared.vault.errors import EntryNotFoundError, VaultError

__all__ = ["DirectoryVault", "EntryNotFoundError", "Vault", "VaultError", "open_vault"]


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
    """Return the vault that the settings name."""
    return DirectoryVault(settings.vault_directory)
