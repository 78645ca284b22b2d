import multiprocessing
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import repeat
from multiprocessing.synchronize import Event as EventType
from pathlib import Path

import pytest

from shared.settings import VaultSettings
from shared.vault import (
    DirectoryVault,
    EntryNotFoundError,
    EntryVersion,
    VaultConflictError,
    VaultError,
    directory,
    open_vault,
)

OLD = {"client_id": "bank-reconciler", "client_secret": "old"}
NEW = {"client_id": "bank-reconciler", "client_secret": "new"}


@pytest.fixture
def vault(tmp_path: Path) -> DirectoryVault:
    return DirectoryVault(tmp_path / "vault")


def test_what_is_written_can_be_read(vault: DirectoryVault) -> None:
    vault.write("bank", OLD)

    assert vault.read("bank") == OLD


def test_a_second_version_replaces_the_first_and_leaves_none_of_it(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    vault.write("bank", OLD | {"old_field": "x"})
    vault.write("bank", NEW)

    assert vault.read("bank") == NEW
    assert not [
        file for file in tmp_path.rglob("*") if file.is_file() and "old" in file.read_text()
    ]


def test_an_entry_that_a_person_or_docker_wrote_as_plain_files_can_be_read(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    folder = tmp_path / "vault" / "bank"
    folder.mkdir(parents=True)
    (folder / "client_id").write_text("bank-reconciler\n")
    (folder / "client_secret").write_text("old\n")

    assert vault.read("bank") == OLD


def test_a_write_returns_the_number_of_its_version(vault: DirectoryVault) -> None:
    numbers = [vault.write("bank", OLD), vault.write("bank", NEW)]

    assert numbers == [1, 2]
    assert vault.version("bank") == EntryVersion(2, is_readable=True)


def test_an_entry_that_is_not_there_is_at_version_0(vault: DirectoryVault) -> None:
    assert vault.version("bank") == EntryVersion(0, is_readable=False)


def kubernetes_entry(folder: Path) -> None:
    """Lay out an entry as the kubelet does."""
    version = folder / "..2025_01_01_00_00_00.1234567890"
    version.mkdir(parents=True)
    for name, text in OLD.items():
        (version / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data").symlink_to(version.name)


def plain_entry(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, text in OLD.items():
        (folder / name).write_text(text)


def entry_of_an_earlier_release(folder: Path) -> None:
    kubernetes_entry(folder)
    (folder / "..data").resolve().rename(folder / "..0123456789abcdef")
    (folder / "..data").unlink()
    (folder / "..data").symlink_to("..0123456789abcdef")


@pytest.mark.parametrize("lay_out", [kubernetes_entry, plain_entry, entry_of_an_earlier_release])
def test_an_entry_without_a_number_is_read_at_version_0_and_replaced_by_version_1(
    vault: DirectoryVault, tmp_path: Path, lay_out: Callable[[Path], None]
) -> None:
    lay_out(tmp_path / "vault" / "bank")
    before = vault.read("bank"), vault.version("bank")

    written = vault.write("bank", NEW, expected_version=0)

    assert before == (OLD, EntryVersion(0, is_readable=True))
    assert (written, vault.read("bank")) == (1, NEW)
    assert not [
        file for file in tmp_path.rglob("*") if file.is_file() and "old" in file.read_text()
    ]


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_a_write_over_another_version_than_the_expected_is_a_conflict_and_changes_nothing(
    vault: DirectoryVault, expected: int
) -> None:
    vault.write("bank", OLD)
    vault.write("bank", OLD)

    with pytest.raises(VaultConflictError, match=f"holds version 2, not {expected}"):
        vault.write("bank", NEW, expected_version=expected)
    assert vault.read("bank") == OLD


def outcome_of_a_first_write(directory: Path, _writer: int) -> str:
    try:
        DirectoryVault(directory).write("bank", NEW, expected_version=0)
    except VaultError as error:
        return type(error).__name__
    return "written"


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_of_writers_of_the_same_version_one_wins(tmp_path: Path, kind: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    pool = ThreadPoolExecutor(4) if kind == "threads" else ProcessPoolExecutor(2, spawn)
    with pool:
        outcomes = pool.map(outcome_of_a_first_write, repeat(tmp_path), range(4))

    assert sorted(outcomes) == ["VaultConflictError"] * 3 + ["written"]


def test_what_a_killed_writer_left_is_deleted_by_the_next(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    vault.write("bank", OLD)
    folder = tmp_path / "vault" / "bank"
    (folder / "..2.0123456789abcdef").mkdir()
    (folder / "..2.0123456789abcdef" / "client_secret").write_text("never delivered")
    (folder / "..0123456789abcdef.link").symlink_to("..2.0123456789abcdef")
    seen = vault.read("bank"), vault.version("bank").number

    vault.write("bank", NEW, expected_version=1)

    assert seen == (OLD, 1)
    current = (folder / "..data").readlink().name
    names = {file.name for file in folder.iterdir()}
    assert names == {"..data", "..lock", current, "client_id", "client_secret"}


def test_a_field_can_be_looked_at_by_its_name(vault: DirectoryVault, tmp_path: Path) -> None:
    vault.write("bank", OLD)
    vault.write("bank", NEW)

    assert (tmp_path / "vault" / "bank" / "client_secret").read_text() == "new"


def test_only_the_owner_can_read_an_entry(vault: DirectoryVault, tmp_path: Path) -> None:
    vault.write("bank", OLD)

    folder = tmp_path / "vault" / "bank"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "client_secret").stat().st_mode) == 0o600


def test_a_reader_never_sees_fields_of_two_versions(vault: DirectoryVault) -> None:
    pairs = [{"client_id": str(n), "client_secret": str(n)} for n in range(60)]
    vault.write("bank", pairs[0])
    seen: list[dict[str, str]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(vault.read("bank"))

    reader = threading.Thread(target=read)
    reader.start()
    for pair in pairs:
        vault.write("bank", pair)
    done.set()
    reader.join()

    assert len(seen) > 0
    assert [pair for pair in seen if pair["client_id"] != pair["client_secret"]] == []


def swap_as_the_kubelet_does(folder: Path, begun: EventType, done: EventType) -> None:
    """Make versions one after the other, each with its number in both fields."""
    number, before = 0, None
    while not done.is_set():
        number += 1
        version = folder / f"..2025_01_01_00_00_00.{number:010d}"
        version.mkdir(parents=True)
        for name in OLD:
            (version / name).write_text(f"{number}\n")
        (folder / "..data_tmp").symlink_to(version.name)
        (folder / "..data_tmp").rename(folder / "..data")
        if before is None:
            for name in OLD:
                (folder / name).symlink_to(f"..data/{name}")
        else:
            shutil.rmtree(before)
        before = version
        begun.set()


@pytest.mark.parametrize("writer", ["thread", "process"])
def test_while_kubernetes_swaps_in_a_loop_every_read_is_whole_and_of_one_version(
    vault: DirectoryVault, tmp_path: Path, writer: str
) -> None:
    spawn = multiprocessing.get_context("spawn")
    begun, done = spawn.Event(), spawn.Event()
    make = threading.Thread if writer == "thread" else spawn.Process
    swapping = make(target=swap_as_the_kubelet_does, args=(tmp_path / "vault/bank", begun, done))
    swapping.start()
    assert begun.wait(30)
    seen: list[dict[str, str]] = []
    deadline = time.monotonic() + 30
    while len({pair["client_id"] for pair in seen}) < 20 and time.monotonic() < deadline:
        seen.append(vault.read("bank"))
    done.set()
    swapping.join()

    assert len({pair["client_id"] for pair in seen}) == 20
    assert [pair for pair in seen if pair.keys() != OLD.keys()] == []
    assert [pair for pair in seen if pair["client_id"] != pair["client_secret"]] == []


def test_an_entry_that_is_replaced_during_every_read_is_not_said_to_be_missing(
    vault: DirectoryVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.write("bank", OLD)
    monkeypatch.setattr(directory, "TRIES", 3)
    listed = Path.iterdir

    def replaced_by_then(folder: Path) -> Iterator[Path]:
        files = list(listed(folder))
        monkeypatch.setattr(Path, "iterdir", listed)
        vault.write("bank", NEW)
        monkeypatch.setattr(Path, "iterdir", replaced_by_then)
        return iter(files)

    monkeypatch.setattr(Path, "iterdir", replaced_by_then)

    with pytest.raises(VaultError, match="it is replaced all the time"):
        vault.read("bank")


def test_dockers_secrets_are_an_entry_with_a_file_for_each_field(tmp_path: Path) -> None:
    secrets = tmp_path / "run" / "secrets"
    secrets.mkdir(parents=True)
    for name, text in OLD.items():
        (secrets / name).write_text(text)

    assert DirectoryVault(tmp_path / "run").read("secrets") == OLD


def test_an_entry_that_is_not_there_is_said_to_be_missing(vault: DirectoryVault) -> None:
    with pytest.raises(EntryNotFoundError, match="no entry"):
        vault.read("bank")


def test_an_entry_that_is_no_text_is_an_error_that_shows_nothing_of_it(
    vault: DirectoryVault, tmp_path: Path
) -> None:
    folder = tmp_path / "vault" / "bank"
    folder.mkdir(parents=True)
    (folder / "client_secret").write_bytes(b"\xff\xfe")

    with pytest.raises(VaultError, match="UnicodeDecodeError"):
        vault.read("bank")


@pytest.mark.parametrize("entry", ["../bank", "", "a/b", ".."], ids=["up", "empty", "path", "dots"])
def test_a_name_that_could_leave_the_vault_is_refused(vault: DirectoryVault, entry: str) -> None:
    with pytest.raises(VaultError, match="not an entry's name"):
        vault.write(entry, OLD)


def test_a_fields_name_that_could_leave_the_entry_is_refused(vault: DirectoryVault) -> None:
    with pytest.raises(VaultError, match="not a field's name"):
        vault.write("bank", {"../client_id": "x"})


def test_a_vault_that_cannot_be_written_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(VaultError, match="cannot write"):
        DirectoryVault(tmp_path / "file").write("bank", OLD)


def test_the_settings_name_the_vault(tmp_path: Path) -> None:
    settings = VaultSettings(
        bind="localhost:1", database_url="sqlite://", vault_directory=tmp_path / "vault"
    )

    assert repr(open_vault(settings)) == f"DirectoryVault('{tmp_path}/vault')"
