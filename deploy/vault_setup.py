"""Sets the vault up: `python -m deploy.vault_setup`. Safe to run again, on an empty vault too.

Switches AppRole on, gives each service the role id and secret id that rest in its own secret
files, and lets the authorization server write, and the client read, exactly one entry.
"""

import os
import sys
from pathlib import Path

from deploy.vault_api import VaultApi, VaultRefusedError
from shared.identifiers import DEMO_CLIENT
from shared.settings import secrets_dir

MOUNT = "secret"

# The authorization server sees whether there is an entry, not what it holds.
POLICIES = {
    "auth_server": f"""
path "{MOUNT}/data/{DEMO_CLIENT}" {{ capabilities = ["create", "update"] }}
path "{MOUNT}/metadata/{DEMO_CLIENT}" {{ capabilities = ["read"] }}
""",
    "client_service": f"""
path "{MOUNT}/data/{DEMO_CLIENT}" {{ capabilities = ["read"] }}
""",
}


def set_up(vault: VaultApi, root_token: str, secrets: Path) -> None:
    """Bring the vault to where the services can log in; raises VaultRefusedError."""
    if f"{MOUNT}/" not in vault.do("GET", "sys/mounts", root_token)["data"]:
        engine = {"type": "kv", "options": {"version": "2"}}
        vault.do("POST", f"sys/mounts/{MOUNT}", root_token, engine)
    if "approle/" not in vault.do("GET", "sys/auth", root_token)["data"]:
        vault.do("POST", "sys/auth/approle", root_token, {"type": "approle"})
    for service, policy in POLICIES.items():
        vault.do("PUT", f"sys/policies/acl/{service}", root_token, {"policy": policy})
        _register(vault, root_token, service, secrets)


def _register(vault: VaultApi, root_token: str, service: str, secrets: Path) -> None:
    """Let the vault know the AppRole of ``service`` by the ids in its secret files."""
    role = f"auth/approle/role/{service}"
    role_id = (secrets / f"{service}_vault_role_id").read_text().strip()
    secret_id = {"secret_id": (secrets / f"{service}_vault_secret_id").read_text().strip()}
    rights = {"token_policies": [service], "token_ttl": "1h", "token_max_ttl": "24h"}
    vault.do("POST", role, root_token, rights)
    vault.do("POST", f"{role}/role-id", root_token, {"role_id": role_id})
    status, _ = vault.ask("POST", f"{role}/secret-id/lookup", root_token, secret_id)
    if status != 200:  # 204 or an error: it does not know this one yet
        vault.do("POST", f"{role}/custom-secret-id", root_token, secret_id)


def _root_token(environment_file: Path) -> str:
    """Return the token from the file that the dev vault has as its environment."""
    return environment_file.read_text().strip().partition("=")[2]


if __name__ == "__main__":
    try:
        folder = secrets_dir()
        token = _root_token(folder / "openbao_environment")
        set_up(VaultApi(os.environ["VAULT_URL"]), token, folder)
    except (VaultRefusedError, OSError) as error:
        sys.exit(str(error))
    sys.stdout.write("the vault knows the AppRoles of the two services\n")
