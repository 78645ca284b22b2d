"""The authorization server, fuzzed along the document that describes it."""

import base64
from typing import Any

import pytest
import schemathesis
import yaml
from schemathesis import Case

from demo.processes import ROOT
from tests.conformance.openapi_fuzzing import A_FEW_EXAMPLES, CHECKS
from tests.conformance.token_requests import granted
from tests.conformance.under_test import AuthorizationServerUnderTest, Client, OtherResource

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "auth_server" / "openapi.yaml").read_text())
CREDENTIALS = ("client_id", "client_secret", "client_assertion", "client_assertion_type")

interface = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture
def base_url(server: AuthorizationServerUnderTest) -> str:
    """Where the server answers; only ours has this document."""
    if "token_url" not in server.metadata:
        pytest.skip("the server has an interface of its own")
    return server.token_url.removesuffix("/oidc/token")


@interface.parametrize()
@A_FEW_EXAMPLES
def test_no_request_gets_what_the_document_does_not_say(case: Case[Any], base_url: str) -> None:
    case.call_and_validate(base_url=base_url, checks=CHECKS)


@interface.include(tag="tokens").parametrize()
@A_FEW_EXAMPLES
def test_no_request_of_a_registered_client_gets_what_the_document_does_not_say(
    case: Case[Any], base_url: str, server: AuthorizationServerUnderTest
) -> None:
    if isinstance(case.body, dict):
        case.body = {name: case.body[name] for name in case.body if name not in CREDENTIALS}

    case.call_and_validate(base_url=base_url, headers=headers_of(server.client), checks=CHECKS)


@pytest.mark.parametrize("path", ["/oidc/introspect", "/oidc/revoke"])
@pytest.mark.parametrize("asks", ["its client", "another client", "resource server"])
def test_what_is_answered_about_a_good_token_is_as_the_document_says(
    path: str,
    asks: str,
    base_url: str,
    server: AuthorizationServerUnderTest,
    other_resource: OtherResource,
    resource_server: Client,
) -> None:
    clients = {
        "its client": server.client,
        "another client": other_resource.client,
        "resource server": resource_server,
    }
    case = interface[path]["POST"].Case(
        body={"token": granted(server)["access_token"]},
        media_type="application/x-www-form-urlencoded",
    )

    case.call_and_validate(base_url=base_url, headers=headers_of(clients[asks]), checks=CHECKS)


def headers_of(client: Client) -> dict[str, str]:
    pair = f"{client.client_id}:{client.client_secret}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
