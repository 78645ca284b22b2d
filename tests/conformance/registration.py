"""What the tests need to be registered at our own authorization server, wherever it runs."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from shared.identifiers import SCOPE_READ, SCOPE_WRITE
from tests.conformance.http_exchange import get_json
from tests.conformance.under_test import AuthorizationServerUnderTest, Client, OtherResource
from tests.stack import Stack
from tests.stack.local_stack import register_client
from tests.stack.signing_client import SigningClient

OTHER_RESOURCE = "https://statements.example/api"
OTHER_SCOPES = ("Statements",)


def registered_clients(stack: Stack) -> dict[str, Client]:
    """Register a second resource beside the bank, and the clients, by name.

    Some at a time: each command is a process of its own.
    """
    do(stack, "resources", "add", OTHER_RESOURCE, "--scope", OTHER_SCOPES[0])
    options = {
        "full": (),
        "narrow": ("--scope", SCOPE_READ),
        "plain": ("--no-id-token",),
        "disabled": (),
        "of-two": ("--resource", stack.bank_url, "--resource", OTHER_RESOURCE),
        "resource-server": ("--introspects", stack.bank_url),
    }
    with ThreadPoolExecutor(max_workers=2) as pool:
        made = pool.map(lambda name: register_client(stack, name, *options[name]), options)
        clients = {one.client_id: Client(one.client_id, one.client_secret) for one in made}
    do(stack, "clients", "disable", "disabled")
    return clients


def authorization_server(
    stack: Stack, clients: Mapping[str, Client]
) -> AuthorizationServerUnderTest:
    """Return the running server of ``stack`` as the tests know it."""
    return AuthorizationServerUnderTest(
        issuer=stack.auth_url,
        metadata=get_json(f"{stack.auth_url}/.well-known/openid-configuration"),
        resource=stack.bank_url,
        scopes=(SCOPE_READ, SCOPE_WRITE),
        client=clients["full"],
        issues_id_tokens=True,
        narrow_client=clients["narrow"],
        client_without_id_token=clients["plain"],
        disabled_client=clients["disabled"],
        other_resource=OtherResource(OTHER_RESOURCE, OTHER_SCOPES, clients["of-two"]),
        signing_client=_registered_signing_client(stack),
        resource_server=clients["resource-server"],
    )


def _registered_signing_client(stack: Stack) -> SigningClient:
    client = SigningClient("signing", stack.auth_url)
    options = ("--auth-method", "private_key_jwt", "--jwks", "-")
    do(stack, "clients", "add", client.client_id, *options, given=json.dumps(client.jwks()))
    return client


def do(stack: Stack, *arguments: str, given: str | None = None) -> None:
    """Run a command of the authorization server, which reads ``given`` and has to succeed."""
    result = stack.cli("auth_server", *arguments, given=given)
    assert result.returncode == 0, result.stderr
