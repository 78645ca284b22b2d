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
VAULT_USERS = ("auth_server", "client_service")
MARK = "made-by-make-up-STACK=docker"
"""An empty file, made last: Compose asks for it before it builds, and says its name."""


def make_secrets(folder: Path) -> bool:
    """Make every secret that ``folder`` lacks; tell whether it lacked the databases' passwords."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = [_make(folder / name, secrets.token_urlsafe(32)) for name in DATABASE_PASSWORDS]
    _make(folder / "auth_server_key_encryption_key", Fernet.generate_key().decode())
    for service in VAULT_USERS:
        _make(folder / f"{service}_vault_role_id", str(uuid.uuid4()))
        _make(folder / f"{service}_vault_secret_id", str(uuid.uuid4()))
    _make(folder / "openbao.env", f"BAO_DEV_ROOT_TOKEN_ID={secrets.token_urlsafe(32)}")
    _make(folder / MARK, "")
    return any(made)


def _make(file: Path, text: str) -> bool:
    """Write ``file`` if it is not there; tell whether it was not."""
    if file.exists():
        return False
    write_whole(file, text + "\n", mode=0o444)
    return True
