"""What the client's README says of copying the token source works, step by step, away from here."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import requests

from demo.processes import ROOT
from shared.identifiers import DEMO_CLIENT
from tests.stack.local_stack import LocalStack

README = (ROOT / "client_service" / "README.md").read_text()
SECTION = README.partition("## Copy this into your own job\n")[2].partition("\n## ")[0]
COPYING = re.search(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
JOB = re.search(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
COPIED = {
    "client_service/token_source.py",
    "client_service/token_messages.py",
    "client_service/token_renewal.py",
    "client_service/retries.py",
    "client_service/issuer_metadata.py",
    "client_service/bearer_auth.py",
    "shared/arrows.py",
}
TIMEOUT_SECONDS = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README has one copy into it, and nothing else."""
    folder = tmp_path_factory.mktemp("elsewhere") / "my-job"
    assert COPYING is not None
    commands = COPYING[1].replace("../my-job", f"'{folder}'")
    subprocess.run(["/bin/sh", "-ec", commands], cwd=ROOT, check=True)
    return folder


@pytest.fixture
def job(folder: Path, stack_of_processes: LocalStack) -> Path:
    """The README's job, with the addresses and the vault of these tests."""
    assert JOB is not None
    text = JOB[1]
    stack = stack_of_processes
    changes = {
        "http://localhost:9000": stack.auth_url,
        "http://localhost:9001": stack.bank_url,
        "/run/secrets": str(stack.demo.state / "vault"),
    }
    for there, here in changes.items():
        assert text.count(there) == 1
        text = text.replace(there, here)
    file = folder / "job.py"
    file.write_text(text)
    return file


def run(folder: Path, arguments: Sequence[str]) -> str:
    """Run Python in ``folder``, where nothing leads to this project, and return what it prints."""
    variables = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert result.stderr == ""
    return result.stdout


def test_only_what_the_readme_names_is_copied(folder: Path) -> None:
    copied = {str(file.relative_to(folder)) for file in folder.rglob("*.py")}

    assert copied - {"job.py"} == COPIED


def test_the_job_has_about_ten_lines() -> None:
    assert JOB is not None
    assert len([line for line in JOB[1].splitlines() if line]) <= 12


def test_the_modules_come_from_the_copies_and_bring_in_nothing_but_requests_and_opentelemetry(
    folder: Path,
) -> None:
    ask = (
        "import json, sys, client_service.bearer_auth, client_service.issuer_metadata;"
        "print(json.dumps({n: getattr(m, '__file__', None) for n, m in sys.modules.items()}))"
    )
    modules = json.loads(run(folder, ["-c", ask]))

    ours = [file for name, file in modules.items() if name.startswith(("client_service", "shared"))]
    assert [file for file in ours if file and not Path(file).is_relative_to(folder)] == []
    others = {"flask", "joserfc", "pydantic", "sqlalchemy", "hvac", "cryptography"}
    assert others & modules.keys() == set()


def test_the_job_reads_the_banks_account(job: Path, stack_of_processes: LocalStack) -> None:
    stack = stack_of_processes
    held = stack.read_from_vault(DEMO_CLIENT)
    pair = (held["client_id"], held["client_secret"])
    asked = {"grant_type": "client_credentials"}
    token = requests.post(f"{stack.auth_url}/oidc/token", asked, auth=pair, timeout=10).json()
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    account = requests.get(f"{stack.bank_url}/account", headers=bearer, timeout=10).json()

    assert run(job.parent, [job.name]) == f"{account['balance']}\n"
