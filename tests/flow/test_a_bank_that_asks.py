"""A bank that asks the authorization server about each token refuses a revoked one at once."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests

from shared.identifiers import ACCOUNT_PATH, INTROSPECTION_PATH, REVOCATION_PATH, TOKEN_PATH
from tests.stack import RegisteredClient
from tests.stack.local_stack import LocalStack, register_client

SECONDS = 15
SECRET_FILE = "resource_server_introspection_client_secret"


@contextmanager
def asking_bank(stack: LocalStack) -> Iterator[RegisteredClient]:
    """Let the bank of ``stack`` ask, with credentials of its own; these are given."""
    itself = register_client(stack, "bank", "--introspects", stack.bank_url)
    file = stack.demo.state / "secrets" / SECRET_FILE
    file.write_text(itself.client_secret)
    file.chmod(0o600)
    bank = stack.demo.resource_server
    bank.stop()
    settings = {
        "RESOURCE_SERVER_TOKEN_CHECK": "introspection",
        "RESOURCE_SERVER_INTROSPECTION_CLIENT_ID": itself.client_id,
    }
    try:
        bank.start(stack.demo.environment(bank.name) | settings)
        bank.wait_until_ready()
        yield itself
    finally:
        bank.stop()
        file.unlink()


def test_a_revoked_token_is_refused_at_once_and_the_flow_goes_on(own_stack: LocalStack) -> None:
    client = register_client(own_stack, "revokes")
    auth = (client.client_id, client.client_secret)

    def post(path: str, form: dict[str, str], auth: tuple[str, str]) -> requests.Response:
        return requests.post(own_stack.auth_url + path, form, auth=auth, timeout=SECONDS)

    token = post(TOKEN_PATH, {"grant_type": "client_credentials"}, auth).json()["access_token"]
    with asking_bank(own_stack) as bank:
        own = (bank.client_id, bank.client_secret)
        statuses = [status_of(own_stack, token)]
        active = [post(INTROSPECTION_PATH, {"token": token}, own).json()["active"]]
        revoked = post(REVOCATION_PATH, {"token": token}, auth)
        statuses.append(status_of(own_stack, token))
        active.append(post(INTROSPECTION_PATH, {"token": token}, own).json()["active"])
        run = own_stack.run_once()

    assert (revoked.status_code, statuses, active) == (200, [200, 401], [True, False])
    assert [arrow.number for arrow in run.arrows] == [1, 2, 3, 4, 5]


def status_of(stack: LocalStack, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    url = stack.bank_url + ACCOUNT_PATH
    return requests.get(url, headers=headers, timeout=SECONDS).status_code
