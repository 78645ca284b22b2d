"""The bank, fuzzed along the document that describes it, with and without good tokens."""

from typing import Any

import pytest
import schemathesis
import yaml
from schemathesis import Case

from demo.processes import ROOT
from shared.identifiers import ACCOUNT_PATH
from tests.conformance.given_servers import a_resource_server_is_given
from tests.conformance.openapi_fuzzing import A_FEW_EXAMPLES, CHECKS
from tests.conformance.under_test import ResourceServerUnderTest

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "resource_server" / "openapi.yaml").read_text())
SCOPES = ["Read", "Write", "Read Write"]

interface = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture
def base_url(bank: ResourceServerUnderTest) -> str:
    """Where the bank answers; only ours has this document."""
    if a_resource_server_is_given():
        pytest.skip("the resource server has an interface of its own")
    return bank.url.removesuffix(ACCOUNT_PATH)


@interface.parametrize()
@A_FEW_EXAMPLES
def test_no_request_gets_what_the_document_does_not_say(case: Case[Any], base_url: str) -> None:
    case.call_and_validate(base_url=base_url, checks=CHECKS)


@interface.include(tag=["accounts", "payments"]).parametrize()
@A_FEW_EXAMPLES
@pytest.mark.parametrize("scope", SCOPES)
def test_no_request_with_a_token_gets_what_the_document_does_not_say(
    case: Case[Any], base_url: str, bank: ResourceServerUnderTest, scope: str
) -> None:
    headers = {"Authorization": f"Bearer {bank.issuer.token(claims={'scope': scope})}"}

    case.call_and_validate(base_url=base_url, headers=headers, checks=CHECKS)
