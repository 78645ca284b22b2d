from collections.abc import Callable

import pytest

from auth_server.client_authentication import ASSERTION_ALGORITHMS, METHODS
from tests.unit.auth_server.running import Running

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


def test_the_oauth_document_has_its_members_and_no_response_types(server: Running) -> None:
    assert server.http.get(OAUTH, base_url="http://localhost:9000").get_json() == {
        "issuer": "http://localhost:9000",
        "token_endpoint": "http://localhost:9000/oidc/token",
        "token_url": "http://localhost:9000/oidc/token",
        "jwks_uri": "http://localhost:9000/oidc/jwks",
        "scopes_supported": ["openid", "Read", "Write", "Append"],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt",
        ],
        "token_endpoint_auth_signing_alg_values_supported": [
            "RS256",
            "PS256",
            "ES256",
            "Ed25519",
            "EdDSA",
        ],
        "introspection_endpoint": "http://localhost:9000/oidc/introspect",
        "introspection_endpoint_auth_methods_supported": list(METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "revocation_endpoint": "http://localhost:9000/oidc/revoke",
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
    }


def test_the_openid_document_has_what_discovery_requires_besides(server: Running) -> None:
    oauth = server.http.get(OAUTH).get_json()
    openid = server.http.get(OPENID).get_json()
    assert {name: value for name, value in openid.items() if name not in oauth} == {
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "at_hash"],
    }


def test_endpoints_are_at_the_host_that_was_asked_and_the_issuer_stays(server: Running) -> None:
    document = server.http.get(OAUTH, base_url="http://127.0.0.1:8080").get_json()
    assert document["token_endpoint"] == "http://127.0.0.1:8080/oidc/token"
    assert document["issuer"] == "http://localhost:9000"


def test_where_id_tokens_are_off_openid_is_not_offered(make: Callable[..., Running]) -> None:
    scopes = make(id_tokens=False).http.get(OPENID).get_json()["scopes_supported"]
    assert scopes == ["Read", "Write", "Append"]


@pytest.mark.parametrize("path", [OPENID, OAUTH, "/oidc/jwks"])
def test_others_may_keep_it_for_the_max_age(make: Callable[..., Running], path: str) -> None:
    response = make(metadata_max_age_seconds=60).http.get(path)
    assert response.headers["Cache-Control"] == "public, max-age=60"


def test_an_error_may_not_be_kept(server: Running) -> None:
    with server.parts.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE client_scopes")
        connection.exec_driver_sql("DROP TABLE resource_scopes")
    response = server.http.get(OAUTH)
    assert (response.status_code, response.headers.get("Cache-Control")) == (503, None)


def test_the_jwks_has_no_private_member(server: Running) -> None:
    (key,) = server.http.get("/oidc/jwks").get_json()["keys"]
    assert list(key) == ["kty", "use", "alg", "kid", "n", "e"]


def test_an_issuer_with_a_path_is_found_in_both_well_known_places(
    make: Callable[..., Running],
) -> None:
    http = make(issuer="https://auth.example/bank").http
    found = [http.get(f"{OAUTH}/bank"), http.get(f"/bank{OPENID}")]
    assert [one.get_json()["issuer"] for one in found] == ["https://auth.example/bank"] * 2


@pytest.mark.parametrize("path", [OPENID, OAUTH, "/oidc/jwks"])
def test_only_get_and_head_are_allowed(server: Running, path: str) -> None:
    answers = [server.http.open(path, method=method).status_code for method in ("POST", "OPTIONS")]
    assert answers == [405, 405]
