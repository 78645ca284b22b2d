"""A vault that is a directory: one folder an entry, one file a field.

The form in which Docker and Kubernetes mount secrets. Like Kubernetes we keep a version in a
folder of its own and swap a symlink, so that id and secret are always read from one version.
"""

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from shared.vault.errors import EntryNotFoundError, VaultError
from shared.vault.names import require_entry_name, require_field_names

CURRENT = "..data"
TRIES = 10


class DirectoryVault:
    """Reads entries that it, a person or a container platform wrote."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        return f"DirectoryVault({str(self._directory)!r})"

    def read(self, entry: str) -> dict[str, str]:
        """Return the fields of ``entry``: each file's text, without a newline at its end."""
        folder = self._folder(entry)
        for _ in range(TRIES):
            version = _current_version(folder)
            try:
                fields = _fields_in(version)
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise VaultError(f"cannot read {folder}: {type(error).__name__}") from error
            if _current_version(folder) == version:
                return fields  # else it was replaced while it was read: some of it may be missing
        raise EntryNotFoundError(f"no entry in {folder}")

    def write(self, entry: str, fields: Mapping[str, str]) -> None:
        """Replace ``entry``; its files are readable by their owner alone."""
        folder = self._folder(entry)
        require_field_names(fields)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            before = _current_version(folder)
            version = _write_version(folder, fields)
            _swap_symlink(folder / CURRENT, version.name)
            _point_to_current(folder, fields)
            if before != folder:
                shutil.rmtree(before, ignore_errors=True)
        except OSError as error:
            raise VaultError(f"cannot write {folder}: {error.strerror}") from error

    def _folder(self, entry: str) -> Path:
        require_entry_name(entry)
        return self._directory / entry


def _current_version(folder: Path) -> Path:
    """Return the folder that holds the files: behind the link, where there is one."""
    link = folder / CURRENT
    return link.resolve() if link.is_symlink() else folder


def _fields_in(version: Path) -> dict[str, str]:
    files = [file for file in version.iterdir() if not file.name.startswith(".")]
    fields = {file.name: file.read_text("utf-8").rstrip("\r\n") for file in files if file.is_file()}
    if not fields:
        raise FileNotFoundError(version)
    return fields


def _write_version(folder: Path, fields: Mapping[str, str]) -> Path:
    version = folder / f"..{secrets.token_hex(8)}"
    version.mkdir(mode=0o700)
    for name, text in fields.items():
        descriptor = os.open(version / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    return version


def _point_to_current(folder: Path, fields: Mapping[str, str]) -> None:
    """Keep a link per field beside the versions, so that `cat ENTRY/client_id` works."""
    for link in folder.iterdir():
        if not link.name.startswith("..") and link.name not in fields:
            link.unlink()
    for name in fields:
        _swap_symlink(folder / name, f"{CURRENT}/{name}")


def _swap_symlink(link: Path, target: str) -> None:
    """Point ``link`` at ``target`` in one step: a reader never finds it missing."""
    fresh = link.with_name(f"..{secrets.token_hex(8)}.link")
    fresh.symlink_to(target)
    fresh.replace(link)
