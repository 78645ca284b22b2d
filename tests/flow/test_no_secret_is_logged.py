"""All the logs of a whole run, at the most talkative level, hold no whole token and no secret."""

import json
from pathlib import Path

import pytest
import requests

from shared.identifiers import DEMO_CLIENT
from tests.stack.local_stack import LocalStack, register_client

TIMEOUT_SECONDS = 10


@pytest.fixture
def talkative_stack(own_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    own_stack.demo.down()
    for service in ("AUTH_SERVER", "RESOURCE_SERVER", "CLIENT_SERVICE"):
        monkeypatch.setenv(f"{service}_LOG_LEVEL", "DEBUG")
    own_stack.demo.up()
    return own_stack


def test_no_secret_and_no_whole_token_reaches_a_log_at_any_level(
    talkative_stack: LocalStack,
) -> None:
    stack = talkative_stack
    secret = stack.read_from_vault(DEMO_CLIENT)["client_secret"]
    client = register_client(stack, "talker")
    post = {"grant_type": "client_credentials", "scope": "openid"}
    in_body = {"client_id": client.client_id, "client_secret": client.client_secret}
    url = f"{stack.auth_url}/oidc/token"

    stack.run_once()
    tokens = requests.post(url, post | in_body, timeout=TIMEOUT_SECONDS).json()
    requests.post(url, post, params=in_body, timeout=TIMEOUT_SECONDS)
    requests.post(url, post, auth=("talker", client.client_secret + "x"), timeout=TIMEOUT_SECONDS)
    for name in ("access_token", "id_token"):
        bearer = {"Authorization": f"Bearer {tokens[name]}"}
        for query in ({}, {"access_token": tokens[name]}):
            requests.get(
                f"{stack.bank_url}/account", query, headers=bearer, timeout=TIMEOUT_SECONDS
            )
    logs = stack.logs()

    assert '"level":"DEBUG"' in logs
    assert "invalid_client" in logs
    never = [secret, client.client_secret, tokens["access_token"], tokens["id_token"]]
    assert [text for text in never if text in logs or text[20:-5] in logs] == []


def test_no_secret_lies_in_a_file_but_the_vault_and_none_is_readable_by_others(
    own_stack: LocalStack,
) -> None:
    secret = own_stack.read_from_vault(DEMO_CLIENT)["client_secret"].encode()
    state = own_stack.demo.state
    own_stack.demo.down()

    files = [file for file in state.rglob("*") if file.is_file() and not file.is_symlink()]
    holders = [file for file in files if secret in file.read_bytes()]

    assert {file.relative_to(state).parts[0] for file in holders} == {"vault"}
    open_files = [file for file in _secret_files(state) if file.stat().st_mode & 0o077]
    assert open_files == []


def test_the_log_is_json_on_every_line(own_stack: LocalStack) -> None:
    own_stack.run_once()

    lines = own_stack.logs().splitlines()

    assert len(lines) > 10
    assert [line for line in lines if line and not isinstance(json.loads(line), dict)] == []


def _secret_files(state: Path) -> list[Path]:
    return [*(state / "secrets").iterdir(), *(state / "vault").iterdir()]
