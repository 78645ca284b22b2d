"""A service loads what it serves with before gunicorn forks, and nothing that only others need."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("auth_server", "resource_server", "client_service")
NEEDED_ELSEWHERE = {
    "alembic": "by the command `migrate`",
    "google.protobuf": "where spans are exported or received",
    "sqlalchemy.dialects.postgresql": "with a database on PostgreSQL",
    "boto3": "with a vault at AWS",
    "azure.identity": "with a vault at Azure",
    "hvac": "with a vault at OpenBao",
    "valkey": "where failures are counted in Valkey",
}
NEEDED_BY_CLIENTS_ALONE = {"requests", "urllib3"}


def loaded_by(module: str) -> set[str]:
    """Return the names of all modules that a new process has where it imports ``module``."""
    code = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_loads_no_package_that_it_may_never_need(service: str) -> None:
    assert loaded_by(f"{service}.app") & NEEDED_ELSEWHERE.keys() == set()


def test_the_authorization_server_loads_no_http_client() -> None:
    assert loaded_by("auth_server.app") & NEEDED_BY_CLIENTS_ALONE == set()


@pytest.mark.parametrize("service", SERVICES)
def test_gunicorn_has_the_application_loaded_before_it_forks(service: str) -> None:
    tree = ast.parse((ROOT / service / "gunicorn.conf.py").read_text())
    imports = [
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    ]

    assert f"{service}.app" in imports
