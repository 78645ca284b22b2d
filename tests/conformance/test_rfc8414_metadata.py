"""RFC 8414, and OpenID Connect Discovery 1.0 where its document differs."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conformance.http_exchange import get_json, send, well_known_url
from tests.conformance.jwt_reading import read_jwt
from tests.conformance.token_requests import granted
from tests.conformance.under_test import AuthorizationServerUnderTest

OAUTH = "oauth-authorization-server"
OPENID = "openid-configuration"


def metadata_url(server: AuthorizationServerUnderTest, name: str) -> str:
    """Return where the document stands: OpenID Connect Discovery §4 appends it to the issuer."""
    if name == OPENID:
        return f"{server.issuer.rstrip('/')}/.well-known/{OPENID}"
    return well_known_url(server.issuer, name)


@pytest.fixture
def oauth_metadata(server: AuthorizationServerUnderTest) -> dict[str, Any]:
    return get_json(metadata_url(server, OAUTH))


@pytest.fixture
def openid_metadata(server: AuthorizationServerUnderTest, id_tokens: None) -> dict[str, Any]:
    return get_json(metadata_url(server, OPENID))


def test_rfc8414_3_the_well_known_path_stands_between_host_and_path_of_the_issuer(
    server: AuthorizationServerUnderTest,
) -> None:
    assert send("GET", well_known_url(server.issuer, OAUTH)).status == 200


@pytest.mark.parametrize("name", [OAUTH, OPENID])
def test_rfc8414_3_2_the_document_is_json(server: AuthorizationServerUnderTest, name: str) -> None:
    answer = send("GET", metadata_url(server, name))

    assert (answer.status, answer.media_type) == (200, "application/json")


@pytest.mark.parametrize("name", [OAUTH, OPENID])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_rfc8414_3_1_the_document_is_got_by_get_alone(
    server: AuthorizationServerUnderTest, name: str, method: str
) -> None:
    answer = send(method, metadata_url(server, name), body=b"")

    assert answer.status == 405
    assert "GET" in (answer.header("Allow") or "")


@pytest.mark.parametrize("name", [OAUTH, OPENID])
def test_rfc8414_3_2_no_member_is_an_empty_list(
    server: AuthorizationServerUnderTest, name: str
) -> None:
    document = get_json(metadata_url(server, name))

    assert [name for name, value in document.items() if value == []] == []


def test_rfc8414_3_3_the_issuer_is_the_one_that_was_asked(
    server: AuthorizationServerUnderTest, oauth_metadata: dict[str, Any]
) -> None:
    assert oauth_metadata["issuer"] == server.issuer


def test_oidc_discovery_4_3_the_issuer_is_the_one_that_was_asked(
    server: AuthorizationServerUnderTest, openid_metadata: dict[str, Any]
) -> None:
    assert openid_metadata["issuer"] == server.issuer


def test_oidc_discovery_4_3_the_issuer_is_that_of_the_id_token(
    server: AuthorizationServerUnderTest, openid_metadata: dict[str, Any]
) -> None:
    id_token = granted(server, ("scope", "openid"))["id_token"]

    assert read_jwt(id_token).claims["iss"] == openid_metadata["issuer"]


def test_rfc8414_2_the_issuer_has_no_query_and_no_fragment(
    oauth_metadata: dict[str, Any],
) -> None:
    assert set("?#") & set(oauth_metadata["issuer"]) == set()


@pytest.mark.parametrize("member", ["token_endpoint", "jwks_uri"])
def test_rfc8414_2_the_endpoints_are_absolute_urls(
    oauth_metadata: dict[str, Any], member: str
) -> None:
    url = urlsplit(oauth_metadata[member])

    assert (url.scheme in {"http", "https"}, bool(url.netloc), url.fragment) == (True, True, "")


def test_rfc8414_2_the_grant_is_named(oauth_metadata: dict[str, Any]) -> None:
    assert "client_credentials" in oauth_metadata["grant_types_supported"]


def test_rfc8414_2_the_methods_of_client_authentication_are_named(
    oauth_metadata: dict[str, Any],
) -> None:
    methods = set(oauth_metadata["token_endpoint_auth_methods_supported"])

    assert methods >= {"client_secret_basic", "client_secret_post"}


def test_rfc8414_2_the_scopes_are_named(
    server: AuthorizationServerUnderTest, oauth_metadata: dict[str, Any]
) -> None:
    assert set(oauth_metadata["scopes_supported"]) >= set(server.scopes)


def test_rfc8414_2_what_is_a_list_of_names_is_one(oauth_metadata: dict[str, Any]) -> None:
    lists = {name: value for name, value in oauth_metadata.items() if name.endswith("_supported")}

    wrong = {
        name
        for name, value in lists.items()
        if not isinstance(value, bool | list)
        or (isinstance(value, list) and {type(entry) for entry in value} != {str})
    }
    assert wrong == set()


def test_rfc9068_4_both_documents_say_the_same(
    oauth_metadata: dict[str, Any], openid_metadata: dict[str, Any]
) -> None:
    common = oauth_metadata.keys() & openid_metadata.keys()

    assert {"issuer", "token_endpoint", "jwks_uri"} <= common
    assert {name: oauth_metadata[name] for name in common} == {
        name: openid_metadata[name] for name in common
    }


@pytest.mark.parametrize(
    "member",
    [
        "issuer",
        "jwks_uri",
        "token_endpoint",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    ],
)
def test_oidc_discovery_3_the_required_members_are_there(
    openid_metadata: dict[str, Any], member: str
) -> None:
    assert member in openid_metadata


def test_oidc_discovery_3_rs256_signs_id_tokens(openid_metadata: dict[str, Any]) -> None:
    assert "RS256" in openid_metadata["id_token_signing_alg_values_supported"]


def test_oidc_discovery_3_subjects_are_of_a_known_type(openid_metadata: dict[str, Any]) -> None:
    assert set(openid_metadata["subject_types_supported"]) <= {"public", "pairwise"}
