from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from auth_server.settings import AuthServerSettings
from auth_server.signing_keys import refuse_wrong_key_encryption
from auth_server.signing_keys.encryption import (
    KeyEncryption,
    KeyEncryptionUnreadableError,
    KeysCannotBeOpenedError,
    key_encryption,
)
from shared.database import Database
from shared.settings import read_settings
from shared.vault import DirectoryVault

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


class Source:
    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self) -> str:
        return self.text


@pytest.fixture
def key_file(state_dir: Path) -> Path:
    file = state_dir / "secrets" / "auth_server_key_encryption_key"
    file.parent.mkdir()
    file.write_text(OLD)
    return file


def test_the_first_key_encrypts_and_each_decrypts() -> None:
    encryption = KeyEncryption(Source(f"{NEW}\n{OLD}\n"), "the file")
    of_old = Fernet(OLD).encrypt(b"private").decode()
    assert Fernet(NEW).decrypt(encryption.encrypt(b"private")) == b"private"
    assert encryption.decrypt(of_old) == b"private"


def test_a_key_put_in_front_encrypts_at_once() -> None:
    source = Source(OLD)
    encryption = KeyEncryption(source, "the file")
    encryption.encrypt(b"private")
    source.text = f"{NEW} {OLD}"
    assert Fernet(NEW).decrypt(encryption.encrypt(b"private")) == b"private"


def test_what_cannot_be_opened_makes_it_read_the_keys_again() -> None:
    source = Source(OLD)
    encryption = KeyEncryption(source, "the file")
    encryption.read()
    source.text = NEW
    assert encryption.decrypt(Fernet(NEW).encrypt(b"private").decode()) == b"private"


def test_what_none_opens_is_said_with_where_the_keys_rest_and_a_way_out() -> None:
    encryption = KeyEncryption(Source(OLD), "the file")
    with pytest.raises(KeysCannotBeOpenedError, match=r"^the file does not open .*replace-lost"):
        encryption.decrypt(Fernet(OTHER).encrypt(b"private").decode())


@pytest.mark.parametrize(
    ("keys", "rests"),
    [(OLD, "first"), (f"{NEW} {OLD}", "other"), (NEW, "none")],
    ids=["old", "new and old", "new"],
)
def test_it_tells_which_key_something_rests_under(keys: str, rests: str) -> None:
    encryption = KeyEncryption(Source(keys), "the file")
    encryption.read()
    assert encryption.rests_under(Fernet(OLD).encrypt(b"private").decode()) == rests


def test_keys_that_can_no_longer_be_read_still_open_what_they_opened() -> None:
    source = Source(OLD)
    encryption = KeyEncryption(source, "the file")
    encryption.read()
    source.text = ""
    with pytest.raises(KeyEncryptionUnreadableError):
        encryption.read()
    assert encryption.decrypt(Fernet(OLD).encrypt(b"private").decode()) == b"private"


def test_the_file_is_read_again_each_time(key_file: Path) -> None:
    encryption = key_encryption(read_settings(AuthServerSettings))
    key_file.write_text(f"{NEW}\n{OLD}\n")
    assert Fernet(NEW).decrypt(encryption.encrypt(b"private")) == b"private"


def test_a_file_that_is_gone_encrypts_nothing(key_file: Path) -> None:
    encryption = key_encryption(read_settings(AuthServerSettings))
    key_file.unlink()
    with pytest.raises(KeyEncryptionUnreadableError, match="cannot be read"):
        encryption.encrypt(b"private")


def test_a_missing_key_stops_the_service_with_its_file(state_dir: Path) -> None:
    with pytest.raises(SystemExit, match=r"^AUTH_SERVER_KEY_ENCRYPTION_KEY: the file .*"
                       r"secrets/auth_server_key_encryption_key is missing"):  # fmt: skip
        key_encryption(AuthServerSettings())


@pytest.mark.parametrize("text", ["", "short", "\u00e9" * 44], ids=ascii)
def test_what_is_no_fernet_key_stops_the_service_and_is_not_shown(text: str) -> None:
    with pytest.raises(SystemExit, match="has to hold Fernet keys") as stopped:
        key_encryption(AuthServerSettings(key_encryption_key=SecretStr(text)))
    assert not text or text not in str(stopped.value)


def test_the_keys_can_rest_in_the_vault(state_dir: Path) -> None:
    vault = DirectoryVault(state_dir / "vault")
    vault.write("auth-server", {"kek": OLD})
    settings = AuthServerSettings(key_encryption_entry="auth-server", key_encryption_field="kek")
    encryption = key_encryption(settings)
    of_old = encryption.encrypt(b"private")
    vault.write("auth-server", {"kek": f"{NEW}\n{OLD}"})
    assert Fernet(NEW).decrypt(encryption.encrypt(b"private")) == b"private"
    assert encryption.decrypt(of_old) == b"private"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"other": OLD}, "no field 'key_encryption_key'"),
        ({"key_encryption_key": "none"}, "has to hold Fernet keys"),
        (None, "no entry"),
    ],
    ids=["another field", "no key", "no entry"],
)
def test_a_vault_without_the_keys_is_told_by_name(
    state_dir: Path, fields: dict[str, str] | None, problem: str
) -> None:
    if fields is not None:
        DirectoryVault(state_dir / "vault").write("auth-server", fields)
    encryption = key_encryption(AuthServerSettings(key_encryption_entry="auth-server"))
    with pytest.raises(KeyEncryptionUnreadableError, match=problem) as raised:
        encryption.encrypt(b"private")
    assert str(raised.value).startswith("AUTH_SERVER_KEY_ENCRYPTION_ENTRY: the vault's entry")


def test_a_vault_that_is_not_there_yet_does_not_stop_the_service(
    tmp_path: Path, empty_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    refuse_wrong_key_encryption(
        AuthServerSettings(database_url=url, key_encryption_entry="auth-server")
    )
    assert "cannot be read yet: KeyEncryptionUnreadableError" in caplog.text
