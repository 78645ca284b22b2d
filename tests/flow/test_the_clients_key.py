"""What the client's README says of a key in place of the secret works, step by step."""

import re
import subprocess
from pathlib import Path

import pytest

from demo.processes import ROOT
from tests.stack.local_stack import LocalStack

README = (ROOT / "client_service" / "README.md").read_text()
SECTION = README.partition("## A key in place of the secret\n")[2].partition("\n## ")[0]
STEPS = re.findall(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
REGISTRATION = re.compile(r'^make cli SERVICE=auth_server ARGS="(.*)" < (\S+)$', re.MULTILINE)
SETTING = re.compile(r"^echo (\w+)=(\S+) >> \.env$", re.MULTILINE)
TIMEOUT_SECONDS = 60


@pytest.fixture
def public_key(stack_of_processes: LocalStack, tmp_path: Path) -> Path:
    """What the first step writes for the authorization server, of a key that is in the vault."""
    file = tmp_path / "bank-signer.jwk"
    changes = {'".local': f'"{stack_of_processes.demo.state}', f'"{file.name}"': f'"{file}"'}
    commands = STEPS[0]
    for there, here in changes.items():
        assert commands.count(there) == 1
        commands = commands.replace(there, here)
    subprocess.run(["/bin/sh", "-ec", commands], cwd=ROOT, check=True, timeout=TIMEOUT_SECONDS)
    return file


def test_the_steps_lead_to_a_run_of_a_client_that_signs(
    stack_of_processes: LocalStack, public_key: Path
) -> None:
    registration = REGISTRATION.search(STEPS[1])
    settings = dict(SETTING.findall(STEPS[1]))
    assert registration is not None
    assert registration[2] == public_key.name

    registered = stack_of_processes.cli(
        "auth_server", *registration[1].split(), given=public_key.read_text()
    )
    run = stack_of_processes.run_once(**settings)

    assert registered.returncode == 0, registered.stderr
    assert '"d"' not in public_key.read_text()
    assert run.report["status"] == "succeeded"
    validations = [event.parameters for event in run.events if event.arrow == 2]
    assert validations == [{"client_id": "bank-signer", "method": "private_key_jwt"}]
