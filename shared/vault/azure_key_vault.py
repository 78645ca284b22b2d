"""A vault that is an Azure Key Vault: an entry is one secret, a JSON object of its fields.

Needs the extra `azure`. Each write makes a new version, and none of them is ever deleted alone: so
a version's number is how many there are.
"""

import re
from collections.abc import Mapping

from azure.keyvault.secrets import SecretClient, SecretProperties

from shared.vault.azure_client import DISABLED, AzureClient
from shared.vault.errors import EntryNotFoundError, VaultConflictError, VaultError
from shared.vault.fields import fields_as_text, fields_in
from shared.vault.names import require_entry_name, require_field_names
from shared.vault.versions import EntryVersion

LATE_WRITE_SECONDS = 10.0  # longer than we wait for an answer
JSON = "application/json"

_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


class AzureKeyVault:
    """Reads and writes the secrets whose names are ``prefix`` and an entry's name.

    Safe to share between threads. Nothing is asked before the first read or write.

    The service has no check-and-set. A write compares the version's number just before it: a
    writer who comes between the two requests is not noticed, and then the later one holds. Those
    who deliver secrets take turns by the authorization server's database, so it is others alone
    who can come between.
    """

    late_write_seconds = LATE_WRITE_SECONDS

    def __init__(self, azure: AzureClient, prefix: str = "") -> None:
        self._azure, self._prefix = azure, prefix

    def __repr__(self) -> str:
        return f"AzureKeyVault({self._azure.url!r}, prefix={self._prefix!r})"

    def read(self, entry: str) -> dict[str, str]:
        """Return the fields of the newest version.

        Raises EntryNotFoundError where there is none, or it was deleted or disabled.
        """
        name = self._name(entry)
        status, secret = self._azure.ask(lambda client: client.get_secret(name), f"read {name}")
        if status == 404:
            raise EntryNotFoundError(f"no entry {name} in the vault at {self._azure.url}")
        if status == DISABLED:
            raise EntryNotFoundError(
                f"the newest version of {name} in the vault at {self._azure.url} is disabled"
            )
        if secret is None:
            raise self._azure.unusable(f"{status} to a read of {name}")
        try:
            return fields_in(secret.value)
        except ValueError as error:
            raise self._azure.unusable(f"{error} for {name}") from None

    def version(self, entry: str) -> EntryVersion:
        """Return the newest version; number 0 where the vault has none of ``entry``."""
        versions = self._versions(self._name(entry))
        newest = max(versions, key=_made_at, default=None)
        return EntryVersion(len(versions), newest is not None and newest.enabled is not False)

    def write(
        self, entry: str, fields: Mapping[str, str], expected_version: int | None = None
    ) -> int:
        """Make a version that holds ``fields``; it is tried once, as a second try might make two.

        Raises VaultError where a secret of this name was deleted and is not purged yet.
        """
        name = self._name(entry)
        require_field_names(fields)
        number = len(self._versions(name))
        if expected_version not in (None, number):
            raise VaultConflictError(
                f"{name} in the vault at {self._azure.url} is at version {number}, "
                f"not {expected_version}: somebody else wrote it meanwhile"
            )
        self._set(name, fields_as_text(fields))
        return number + 1

    def _set(self, name: str, text: str) -> None:
        def request(client: SecretClient) -> object:
            return client.set_secret(name, text, content_type=JSON, retry_read=0, retry_status=0)

        status, _ = self._azure.ask(request, f"write {name}")
        if status == 409:
            raise VaultError(
                f"{name} was deleted from the vault at {self._azure.url} and is kept there: "
                "recover or purge it before it is written"
            )
        if status != 200:
            raise self._azure.unusable(f"{status} to a write of {name}")

    def _versions(self, name: str) -> list[SecretProperties]:
        status, versions = self._azure.ask(
            lambda client: list(client.list_properties_of_secret_versions(name)),
            f"list the versions of {name}",
        )
        if status == 404:
            return []
        if versions is None:
            raise self._azure.unusable(f"{status} to a list of {name}'s versions")
        return versions

    def _name(self, entry: str) -> str:
        require_entry_name(entry)
        name = f"{self._prefix}{entry}"
        if not _NAME.fullmatch(name):
            raise VaultError(
                f"no name that a Key Vault takes: {name!r} (letters, digits and hyphens, "
                "127 at most)"
            )
        return name


def _made_at(version: SecretProperties) -> float:
    return version.created_on.timestamp() if version.created_on else 0.0
