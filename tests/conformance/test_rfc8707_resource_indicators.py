"""RFC 8707 at the token endpoint."""

import pytest

from tests.conformance.jwt_reading import read_jwt
from tests.conformance.token_requests import granted, refusal, request_token
from tests.conformance.under_test import AuthorizationServerUnderTest, OtherResource

INVALID_TARGET = (400, "invalid_target")


def audience(token: str) -> list[str]:
    """Return the audience as a list, which is one of its two forms (RFC 7519 §4.1.3)."""
    aud = read_jwt(token).claims["aud"]
    return [aud] if isinstance(aud, str) else list(aud)


def test_rfc8707_2_the_token_is_for_the_resource_asked_for(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = granted(server, ("resource", server.resource))

    assert audience(answer["access_token"]) == [server.resource]


def test_rfc8707_2_the_token_is_for_another_resource_where_that_was_asked_for(
    server: AuthorizationServerUnderTest, other_resource: OtherResource
) -> None:
    answer = granted(server, ("resource", other_resource.identifier), client=other_resource.client)

    assert audience(answer["access_token"]) == [other_resource.identifier]


@pytest.mark.parametrize(
    "resource",
    ["account", "/account", "//localhost/account", "?a=b", "http:", "http://", "\x00", "é", "a b"],
    ids=["word", "path", "no scheme", "query", "scheme", "no host", "NUL", "not ASCII", "space"],
)
def test_rfc8707_2_a_resource_that_is_no_absolute_uri_is_invalid_target(
    server: AuthorizationServerUnderTest, resource: str
) -> None:
    answer = request_token(server, ("resource", resource), client=server.client)

    assert refusal(answer) == INVALID_TARGET


@pytest.mark.parametrize("fragment", ["#", "#account"], ids=["empty", "with text"])
def test_rfc8707_2_a_resource_with_a_fragment_is_invalid_target(
    server: AuthorizationServerUnderTest, fragment: str
) -> None:
    answer = request_token(server, ("resource", server.resource + fragment), client=server.client)

    assert refusal(answer) == INVALID_TARGET


def test_rfc8707_2_an_unknown_resource_is_invalid_target(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = request_token(
        server, ("resource", "https://unknown.example/api"), client=server.client
    )

    assert refusal(answer) == INVALID_TARGET


def test_rfc8707_2_a_resource_that_the_client_may_not_use_is_invalid_target(
    server: AuthorizationServerUnderTest, other_resource: OtherResource
) -> None:
    answer = request_token(server, ("resource", other_resource.identifier), client=server.client)

    assert refusal(answer) == INVALID_TARGET


def test_rfc8707_2_two_resources_are_both_in_the_audience_or_invalid_target(
    server: AuthorizationServerUnderTest, other_resource: OtherResource
) -> None:
    resources = [server.resource, other_resource.identifier]
    parameters = [("resource", resource) for resource in resources]

    answer = request_token(server, *parameters, client=other_resource.client)

    if answer.status == 200:
        assert audience(answer.json()["access_token"]) == resources
    else:
        assert refusal(answer) == INVALID_TARGET
