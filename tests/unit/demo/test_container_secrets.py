import re
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from demo.container_secrets import MARK, lacks_a_password, make_secrets

COMPOSE_FILE = Path(__file__).resolve().parents[3] / "docker-compose.yml"


def texts(folder: Path) -> dict[str, str]:
    """Return the secrets in ``folder`` by the names of their files."""
    files = (file for file in folder.iterdir() if file.name != MARK)
    return {file.name: file.read_text().strip() for file in files}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_file_that_the_compose_file_names_is_made(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")

    named = set(re.findall(r"compose-secrets\}/([\w.=-]+)", COMPOSE_FILE.read_text()))
    assert len(named) == 12
    assert {file.name for file in (tmp_path / "secrets").iterdir()} == named


def test_the_folder_is_closed_to_others_and_a_containers_user_can_read_the_files(
    tmp_path: Path,
) -> None:
    make_secrets(tmp_path / "secrets")

    assert mode(tmp_path / "secrets") == 0o700
    assert {mode(file) for file in (tmp_path / "secrets").iterdir()} == {0o444}


def test_each_secret_is_its_own_and_the_key_is_one(tmp_path: Path) -> None:
    make_secrets(tmp_path)

    made = texts(tmp_path)
    assert len(set(made.values())) == len(made)
    assert min(map(len, made.values())) >= 36
    assert len(Fernet(made["auth_server_key_encryption_key"]).encrypt(b"")) > 0


def test_what_is_there_stays_and_what_is_missing_is_made(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    before = texts(tmp_path)
    (tmp_path / "client_service_vault_secret_id").unlink()

    make_secrets(tmp_path)

    changed = [name for name, text in texts(tmp_path).items() if text != before[name]]
    assert changed == ["client_service_vault_secret_id"]


@pytest.mark.parametrize("name", ["postgres_password", "auth_server_database_password"])
def test_a_password_that_is_gone_is_told(tmp_path: Path, name: str) -> None:
    before = lacks_a_password(tmp_path)
    make_secrets(tmp_path)
    made = lacks_a_password(tmp_path)
    (tmp_path / name).unlink()

    assert (before, made, lacks_a_password(tmp_path)) == (True, False, True)
