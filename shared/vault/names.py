"""What may be the name of an entry or of a field, whichever vault keeps it."""

from collections.abc import Iterable

from shared.identifiers import is_identifier
from shared.vault.errors import VaultError


def require_entry_name(entry: str) -> None:
    """Raise VaultError where ``entry`` could leave the vault: it becomes part of a path."""
    if not is_identifier(entry):
        raise VaultError(f"not an entry's name: {entry!r}")


def require_field_names(fields: Iterable[str]) -> None:
    """Raise VaultError where one of ``fields`` could leave its entry."""
    unsuitable = [name for name in fields if not is_identifier(name)]
    if unsuitable:
        raise VaultError(f"not a field's name: {unsuitable[0]!r}")
