"""The key vault: where credentials rest, behind one small interface.

An entry has a name and a few named fields, all text. The default provider is a directory; the
others are servers: OpenBao or HashiCorp Vault, AWS Secrets Manager, Azure Key Vault.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    VaultThrottledError,
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
    "VaultThrottledError",
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
        it is the number of the version that is replaced (an Azure Key Vault compares it just
        before it writes, the others as they write).
        Raises VaultConflictError where it is another one by now, VaultError where the entry
        cannot be written or nobody can say whether it was.
        """
        ...


def open_vault(settings: VaultSettings) -> Vault:
    """Return the vault that the settings name; it is asked nothing yet.

    Raises SystemExit where its provider is not installed, or lacks what no setting gives.
    """
    if settings.vault == "openbao":
        return _openbao(settings)
    if settings.vault == "aws":
        return _aws(settings)
    if settings.vault == "azure":
        return _azure(settings)
    return DirectoryVault(settings.vault_directory)


# Each provider's package is imported here: who keeps credentials elsewhere does not need it.


def _openbao(settings: VaultSettings) -> Vault:
    with _needing(settings, "hvac"):
        from shared.vault.app_role import AppRole
        from shared.vault.openbao import OpenBaoVault
        from shared.vault.server import VaultServer
    url, role_id, secret_id = settings.vault_url, settings.vault_role_id, settings.vault_secret_id
    assert url is not None  # nor the other two: the settings have seen to it
    assert role_id is not None
    assert secret_id is not None
    server = VaultServer(url, settings.vault_ca_file)
    return OpenBaoVault(server, AppRole(server, role_id, secret_id), settings.vault_mount)


def _aws(settings: VaultSettings) -> Vault:
    with _needing(settings, "boto3"):
        from shared.vault.aws_client import AwsClient, region_is_known
        from shared.vault.aws_secrets_manager import AwsSecretsManagerVault
    region = settings.vault_region
    if not region_is_known(region):
        raise SystemExit(
            f"{setting_name(type(settings), 'vault_region')}: must be set where the vault is `aws` "
            "and the platform names no region"
        )
    aws = AwsClient(region, settings.vault_url, settings.vault_ca_file)
    return AwsSecretsManagerVault(aws, settings.vault_prefix)


def _azure(settings: VaultSettings) -> Vault:
    with _needing(settings, "azure"):
        from shared.vault.azure_client import AzureClient
        from shared.vault.azure_key_vault import AzureKeyVault
    assert settings.vault_url is not None  # the settings have seen to it
    azure = AzureClient(settings.vault_url, settings.vault_ca_file)
    return AzureKeyVault(azure, settings.vault_prefix)


@contextmanager
def _needing(settings: VaultSettings, package: str) -> Iterator[None]:
    """Tell which extra is missing where ``package`` cannot be imported."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise SystemExit(
            f"{setting_name(type(settings), 'vault')}: `{settings.vault}` needs the package "
            f"{error.name}, which the extra `{settings.vault}` of this project installs"
        ) from error
