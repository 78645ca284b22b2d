"""RFC 9728 at the resource server: what a client may know before it has a token."""

from typing import Any

import pytest

from tests.conformance.bank_requests import read_with
from tests.conformance.challenges import challenge_in
from tests.conformance.given_servers import a_resource_server_is_given
from tests.conformance.http_exchange import Answer, get_json, send, well_known_url
from tests.conformance.under_test import ResourceServerUnderTest


@pytest.fixture
def answer(bank: ResourceServerUnderTest) -> Answer:
    """What the resource server answers where its metadata should be (§3.1)."""
    found = send("GET", well_known_url(bank.issuer.audience, "oauth-protected-resource"))
    if found.status == 404 and a_resource_server_is_given():
        pytest.skip("the resource server publishes no metadata")
    return found


@pytest.fixture
def metadata(answer: Answer) -> dict[str, Any]:
    return answer.json()


def test_rfc9728_3_2_the_document_is_a_json_object_that_needs_no_token(answer: Answer) -> None:
    assert (answer.status, answer.media_type) == (200, "application/json")


def test_rfc9728_3_3_the_resource_is_the_identifier_byte_for_byte(
    bank: ResourceServerUnderTest, metadata: dict[str, Any]
) -> None:
    assert metadata["resource"] == bank.issuer.audience


def test_rfc9728_2_the_issuer_is_among_the_authorization_servers(
    bank: ResourceServerUnderTest, metadata: dict[str, Any]
) -> None:
    assert bank.issuer.url in metadata["authorization_servers"]


def test_rfc9728_2_the_scope_that_the_resource_needs_is_named(
    bank: ResourceServerUnderTest, metadata: dict[str, Any]
) -> None:
    assert bank.scope in metadata["scopes_supported"]


def test_rfc9728_2_the_header_is_a_way_to_send_the_token_and_no_unknown_way_is(
    metadata: dict[str, Any],
) -> None:
    methods = set(metadata["bearer_methods_supported"])

    assert "header" in methods
    assert methods <= {"header", "body", "query"}


def test_oauth2_1_5_1_the_query_is_no_way_to_send_the_token(metadata: dict[str, Any]) -> None:
    assert "query" not in metadata["bearer_methods_supported"]


def test_rfc9728_3_2_no_member_is_empty(metadata: dict[str, Any]) -> None:
    assert [name for name, value in metadata.items() if value in (None, [], {}, "")] == []


@pytest.mark.parametrize("token", [None, "no-jwt"], ids=["without a token", "with a bad one"])
def test_rfc9728_5_1_the_challenge_leads_to_the_metadata(
    bank: ResourceServerUnderTest, metadata: dict[str, Any], token: str | None
) -> None:
    refusal = send("GET", bank.url) if token is None else read_with(bank, token)
    url = challenge_in(refusal.header("WWW-Authenticate"))["resource_metadata"]

    assert get_json(url) == metadata
