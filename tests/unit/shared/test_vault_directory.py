import stat
import threading
from pathlib import Path

import pytest

from shared.settings import VaultSettings
from shared.vault import DirectoryVault, EntryNotFoundError, VaultError, open_vault

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
