"""A vault that is a server: OpenBao or HashiCorp Vault, whose API is the same.

An entry is a secret of the KV engine, version 2: each write makes a new version of it, and a read
returns the newest one whole. Needs the extra `openbao`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from hvac.api.secrets_engines import KvV2

from shared.vault.app_role import AppRole
from shared.vault.errors import EntryNotFoundError, VaultConflictError, VaultForbiddenError
from shared.vault.names import require_entry_name, require_field_names
from shared.vault.server import Request, VaultServer
from shared.vault.versions import EntryVersion

LATE_WRITE_SECONDS = 10.0  # longer than we wait for an answer


class OpenBaoVault:
    """Reads and writes entries below ``mount`` with the rights of an AppRole.

    Safe to share between threads. Nothing is asked of the server before the first read or write.
    """

    late_write_seconds = LATE_WRITE_SECONDS

    def __init__(
        self,
        server: VaultServer,
        role: AppRole,
        mount: str = "secret",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._server, self._role, self._mount, self._now = server, role, mount, now

    def __repr__(self) -> str:
        return f"OpenBaoVault({self._server.url!r}, mount={self._mount!r})"

    def read(self, entry: str) -> dict[str, str]:
        """Return the fields of the newest version of ``entry``.

        Raises EntryNotFoundError where it has none, was deleted too, and VaultError where it
        cannot be read.
        """
        require_entry_name(entry)
        status, document = self._ask(
            lambda adapter: KvV2(adapter).read_secret_version(
                entry, mount_point=self._mount, raise_on_deleted_version=True
            ),
            f"read {self._path(entry)}",
        )
        if status == 404:
            raise EntryNotFoundError(
                f"no entry {self._path(entry)} in the vault at {self._server.url}"
            )
        if status != 200:
            raise self._server.unusable(f"{status} to a read of {self._path(entry)}")
        return self._fields_in(document, entry)

    def version(self, entry: str) -> EntryVersion:
        """Return the newest version; number 0 where the vault knows nothing of ``entry``."""
        require_entry_name(entry)
        status, document = self._ask(
            lambda adapter: KvV2(adapter).read_secret_metadata(entry, mount_point=self._mount),
            f"read the versions of {self._path(entry)}",
        )
        if status == 404:
            return EntryVersion(0, is_readable=False)
        if status != 200:
            raise self._server.unusable(f"{status} to a read of {self._path(entry)}'s versions")
        return self._version_in(document, entry)

    def write(
        self, entry: str, fields: Mapping[str, str], expected_version: int | None = None
    ) -> int:
        """Replace ``entry`` by one new version that holds ``fields`` and no other field."""
        require_entry_name(entry)
        require_field_names(fields)
        status, document = self._ask(
            lambda adapter: KvV2(adapter).create_or_update_secret(
                entry, dict(fields), cas=expected_version, mount_point=self._mount
            ),
            f"write {self._path(entry)}",
        )
        if status == 400 and expected_version is not None:
            self._require_version(entry, expected_version)
        if status != 200:
            raise self._server.unusable(f"{status} to a write of {self._path(entry)}")
        return self._number_in(document.get("data"), "version", entry)

    def _require_version(self, entry: str, expected: int) -> None:
        """Raise VaultConflictError where the newest version is another than ``expected``.

        A failed check-and-set is a 400, and a 400 may be something else: only the text of the
        answer says, which we don't look at.
        """
        number = self.version(entry).number
        if number != expected:
            raise VaultConflictError(
                f"{self._path(entry)} in the vault at {self._server.url} is at version {number}, "
                f"not {expected}: somebody else wrote it meanwhile"
            )

    def _ask(self, request: Request, doing: str) -> tuple[int, dict[str, Any]]:
        """Ask with our client token, and once more with a new one where the first is refused.

        A server answers 403 both for a token that it does not know (it was restarted empty, say)
        and for one that lacks the right; only a new token tells them apart.
        """
        token = self._role.token()
        status, document = self._server.ask(request, token.value)
        if status == 403:
            status, document = self._server.ask(request, self._role.token_after(token).value)
        if status == 403:
            raise VaultForbiddenError(
                f"the vault at {self._server.url} does not allow our role to {doing}"
            )
        return status, document

    def _fields_in(self, document: dict[str, Any], entry: str) -> dict[str, str]:
        data = document.get("data")
        fields = data.get("data") if isinstance(data, dict) else None
        if not isinstance(fields, dict):
            raise self._server.unusable(f"no fields for {self._path(entry)}")
        if not all(isinstance(text, str) for text in fields.values()):
            raise self._server.unusable(f"a field that is no text for {self._path(entry)}")
        return fields

    def _version_in(self, document: dict[str, Any], entry: str) -> EntryVersion:
        data = document.get("data")
        number = self._number_in(data, "current_version", entry)
        versions = data.get("versions") if isinstance(data, dict) else None
        newest = versions.get(str(number)) if isinstance(versions, dict) else None
        try:
            return EntryVersion(number, isinstance(newest, dict) and self._is_readable(newest))
        except (TypeError, ValueError) as error:
            raise self._server.unusable(f"no version's times for {self._path(entry)}") from error

    def _is_readable(self, version: dict[str, Any]) -> bool:
        """Tell whether a version is there still; its deletion may be yet to come."""
        deleted_at = version.get("deletion_time") or ""
        is_deleted = deleted_at != "" and datetime.fromisoformat(deleted_at) <= self._now()
        return not is_deleted and version.get("destroyed") is not True

    def _number_in(self, data: object, name: str, entry: str) -> int:
        number = data.get(name) if isinstance(data, dict) else None
        if type(number) is not int or number < 0:
            raise self._server.unusable(f"no number of a version for {self._path(entry)}")
        return number

    def _path(self, entry: str) -> str:
        return f"{self._mount}/{entry}"
