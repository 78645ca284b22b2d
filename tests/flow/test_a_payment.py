"""The payment that the bank's README shows, with a token of the real issuer, on both stacks."""

import json
import re
import shutil
import subprocess
from typing import Any

import requests

from demo.processes import ROOT
from shared.identifiers import TOKEN_PATH
from tests.stack import RegisteredClient, Stack
from tests.stack.local_stack import register_client

README = (ROOT / "resource_server" / "README.md").read_text()
ACCOUNT = "account-of-payments"
TRANSACTIONS = 30
TIMEOUT_SECONDS = 10


def command(stack: Stack, token: str) -> str:
    """Return the command of the README, for this stack's port and with this token."""
    shown = re.search(r"^### Payments\n+```sh\n(.+?)^```", README, re.MULTILINE | re.DOTALL)
    assert shown is not None
    at_the_stack = shown[1].replace("http://localhost:9001", stack.bank_url)
    return at_the_stack.replace("$(make -s token)", token)


def bank(stack: Stack, *arguments: str) -> Any:
    result = stack.cli("resource_server", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def token_of(stack: Stack, client: RegisteredClient) -> str:
    answer = requests.post(
        stack.auth_url + TOKEN_PATH,
        data={"grant_type": "client_credentials"},
        auth=(client.client_id, client.client_secret),
        timeout=TIMEOUT_SECONDS,
    )
    return str(answer.json()["access_token"])


def output_of(line: str) -> Any:
    """Return what ``line`` prints; a bank that just started and has no keys yet is asked again."""
    line = line.replace("curl -s", "curl -s --fail --retry 5")
    bash = shutil.which("bash")
    assert bash is not None
    shell = [bash, "-c", line]
    return json.loads(subprocess.run(shell, capture_output=True, check=True, timeout=60).stdout)


def test_the_readmes_payment_moves_money_once_however_often_it_is_sent(stack: Stack) -> None:
    client = register_client(stack, "payer")
    seed = ("ledger", "seed", "--transactions", str(TRANSACTIONS), "--account", ACCOUNT)
    balance = bank(stack, *seed)["balance"]
    bank(stack, "access", "grant", client.client_id, ACCOUNT, "--default")
    token = token_of(stack, client)

    payments = [output_of(command(stack, token)) for _ in range(2)]
    account = output_of(f'curl -s -H "Authorization: Bearer {token}" {stack.bank_url}/account')

    assert payments[0] == payments[1]
    assert (payments[0]["debit_account_id"], payments[0]["amount"]) == (ACCOUNT, 1250)
    assert (account["balance"], account["as_of"]) == (balance - 1250, TRANSACTIONS + 1)
    assert bank(stack, "ledger", "verify")["findings"] == []
