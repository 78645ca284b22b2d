"""The secrets of the containers: made once, in a folder that is closed to other users.

Compose mounts each file as it is: it sets neither owner nor mode. So the files can be read by
all, as the containers' users are others than ours, and the folder by its owner alone.
"""

import secrets
import uuid
from pathlib import Path

from cryptography.fernet import Fernet

from demo.processes import write_whole

DATABASE_PASSWORDS = ("postgres_password", *(
    f"{service}_database_password"
    for service in ("auth_server", "resource_server", "client_service")
))  # fmt: skip
KEY_ENCRYPTION_KEY = "auth_server_key_encryption_key"
CONTROL_TOKEN = "client_service_control_token"  # noqa: S105 - the name of its file
VAULT_USERS = ("auth_server", "client_service")
MARK = "made-by-make-up-STACK=docker"
"""An empty file, made last: Compose asks for it before it builds, and says its name."""


def lacks_a_password(folder: Path) -> bool:
    """Tell whether the password of a database is not in ``folder``."""
    return not all((folder / name).exists() for name in DATABASE_PASSWORDS)


def make_secrets(folder: Path) -> None:
    """Make every secret that ``folder`` lacks."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in DATABASE_PASSWORDS:
        _make(folder / name, new_secret())
    _make(folder / KEY_ENCRYPTION_KEY, Fernet.generate_key().decode())
    _make(folder / CONTROL_TOKEN, new_secret())
    for service in VAULT_USERS:
        _make(folder / f"{service}_vault_role_id", str(uuid.uuid4()))
        _make(folder / f"{service}_vault_secret_id", str(uuid.uuid4()))
    _make(folder / "openbao.env", f"BAO_DEV_ROOT_TOKEN_ID={new_secret()}")
    _make(folder / MARK, "")


def new_secret() -> str:
    """Return a new secret of 256 bits."""
    return secrets.token_urlsafe(32)


def _make(file: Path, text: str) -> None:
    """Write ``file`` if it is not there."""
    if not file.exists():
        write_whole(file, text + "\n", mode=0o444)
