"""A vault that is a directory: one folder an entry, one file a field.

The form in which Docker and Kubernetes mount secrets. Like Kubernetes we keep a version in a
folder of its own and swap a symlink, so that id and secret are always read from one version.
The folder's name begins with the version's number: `..7.5f1c0a9be2d34f60`.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.vault.errors import EntryNotFoundError, VaultConflictError, VaultError
from shared.vault.names import require_entry_name, require_field_names
from shared.vault.versions import EntryVersion

CURRENT = "..data"
LOCK = "..lock"
TRIES = 100  # each of them fails only where the entry was replaced in that very moment

# A version or a link that we made, finished or not; the number is missing where an earlier
# release made it.
_OURS = re.compile(r"\.\.(?:(?P<number>\d+)\.)?[0-9a-f]{16}(?:\.link)?")


class DirectoryVault:
    """Reads entries that it, a person or a container platform wrote.

    Writers of one entry take turns, in other processes of this machine too.
    """

    late_write_seconds = 0.0  # what a process writes here, it writes while it lives

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        return f"DirectoryVault({str(self._directory)!r})"

    def read(self, entry: str) -> dict[str, str]:
        """Return the fields of ``entry``: each file's text, without a newline at its end."""
        folder = self._folder(entry)
        try:
            for _ in range(TRIES):
                fields = _fields_of_one_version(folder)
                if fields is not None:
                    return fields
        except FileNotFoundError as error:
            raise EntryNotFoundError(f"no entry in {folder}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise VaultError(f"cannot read {folder}: {type(error).__name__}") from error
        raise VaultError(f"cannot read {folder}: it is replaced all the time")

    def version(self, entry: str) -> EntryVersion:
        """Return the newest version; its number is 0 where somebody else wrote the entry."""
        number = _number(_current_version(self._folder(entry)))
        try:
            self.read(entry)
        except EntryNotFoundError:
            return EntryVersion(number, is_readable=False)
        return EntryVersion(number, is_readable=True)

    def write(
        self, entry: str, fields: Mapping[str, str], expected_version: int | None = None
    ) -> int:
        """Replace ``entry`` and return the version's number.

        Its files are readable by their owner alone.
        """
        folder = self._folder(entry)
        require_field_names(fields)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(folder):
                number = _number(_current_version(folder))
                if expected_version not in (None, number):
                    raise VaultConflictError(
                        f"{folder} holds version {number}, not {expected_version}: "
                        "somebody else wrote it meanwhile"
                    )
                _replace(folder, fields, number + 1)
                return number + 1
        except OSError as error:
            raise VaultError(f"cannot write {folder}: {error.strerror}") from error

    def _folder(self, entry: str) -> Path:
        require_entry_name(entry)
        return self._directory / entry


def _current_version(folder: Path) -> Path:
    """Return the folder that holds the files: behind the link, where there is one."""
    link = folder / CURRENT
    return link.resolve() if link.is_symlink() else folder


def _fields_of_one_version(folder: Path) -> dict[str, str] | None:
    """Return what the current version holds; None where it was replaced meanwhile.

    Raises FileNotFoundError where it holds nothing.
    """
    version = _current_version(folder)
    try:
        files = _files_in(version)
        # A version is deleted after the link has left it: until here, it was whole.
        if _current_version(folder) != version:
            return None
        fields = {file.name: file.read_text("utf-8").rstrip("\r\n") for file in files}
    except FileNotFoundError:
        if _current_version(folder) == version:
            raise
        return None
    # Files beside the link are no version: they may have become links while they were read.
    return None if version == folder and _current_version(folder) != folder else fields


def _files_in(version: Path) -> list[Path]:
    files = [file for file in version.iterdir() if not file.name.startswith(".")]
    files = [file for file in files if file.is_file()]
    if not files:
        raise FileNotFoundError(version)
    return files


def _number(version: Path) -> int:
    """Return the number of a version that we made; 0 for any other, and where there is none."""
    ours = _OURS.fullmatch(version.name)
    return int(ours["number"] or 0) if ours else 0


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread writes the entry; the lock ends with its process."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(folder: Path, fields: Mapping[str, str], number: int) -> None:
    """Make version ``number`` the current one; delete the others, unfinished ones too."""
    before = _current_version(folder).name
    version = _write_version(folder, fields, number)
    _swap_symlink(folder / CURRENT, version.name)
    _keep_through_a_power_cut(folder)
    _point_to_current(folder, fields)
    for other in folder.iterdir():
        if other != version and (_OURS.fullmatch(other.name) or other.name == before):
            _delete(other)


def _write_version(folder: Path, fields: Mapping[str, str], number: int) -> Path:
    version = folder / f"..{number}.{secrets.token_hex(8)}"
    version.mkdir(mode=0o700)
    for name, text in fields.items():
        descriptor = os.open(version / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    _keep_through_a_power_cut(version)
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


def _keep_through_a_power_cut(folder: Path) -> None:
    """Let the names in ``folder`` reach the disk, as fsync of a file does with its bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete(left_over: Path) -> None:
    if left_over.is_symlink():
        left_over.unlink(missing_ok=True)
    else:
        shutil.rmtree(left_over, ignore_errors=True)
