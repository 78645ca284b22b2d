"""What others may know of this server: two discovery documents, and its public keys.

Endpoint URLs are built from the host that was asked, so that the same server answers on
`localhost` and on a container network; the issuer is the one fixed string (decision 9).
"""

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request

from auth_server.client_authentication import ASSERTION_ALGORITHMS, METHODS
from auth_server.registry import Registry
from auth_server.settings import ID_TOKEN_ALGORITHM, AuthServerSettings
from auth_server.signing_keys import SigningKeys
from shared.identifiers import (
    INTROSPECTION_PATH,
    JWKS_PATH,
    OAUTH_METADATA_PATH,
    OPENID,
    OPENID_CONFIGURATION_PATH,
    REVOCATION_PATH,
    TOKEN_PATH,
)


def metadata(settings: AuthServerSettings, registry: Registry, keys: SigningKeys) -> Blueprint:
    """Return the views of the two documents and of the JWKS."""
    views = Blueprint("metadata", __name__)
    issuer_path = urlsplit(settings.issuer).path

    def scopes() -> list[str]:
        return [OPENID] * settings.id_tokens + registry.resources.all_scopes()

    @views.get(OAUTH_METADATA_PATH)
    def oauth_metadata() -> Response:
        """Describe the server as RFC 8414 §2 has it."""
        document = oauth_document(settings.issuer, request.host_url, scopes())
        return _to_be_kept(document, settings.metadata_max_age_seconds)

    @views.get(OPENID_CONFIGURATION_PATH)
    def openid_configuration() -> Response:
        """Describe the server as OpenID Connect Discovery §3 has it."""
        document = openid_document(settings.issuer, request.host_url, scopes())
        return _to_be_kept(document, settings.metadata_max_age_seconds)

    @views.get(JWKS_PATH)
    def jwks() -> Response:
        """Return the public keys (RFC 7517 §5); a private member is in none (decision 8)."""
        published, max_age = keys.jwks()
        return _to_be_kept({"keys": published}, max_age)

    if issuer_path:
        # RFC 8414 §3.1 puts the well-known part before the issuer's path, OIDC Discovery §4 after.
        views.add_url_rule(OAUTH_METADATA_PATH + issuer_path, view_func=oauth_metadata)
        views.add_url_rule(issuer_path + OPENID_CONFIGURATION_PATH, view_func=openid_configuration)

    return views


def _to_be_kept(document: dict[str, Any], max_age_seconds: int) -> Response:
    """Answer with ``document``, which others may keep for so long."""
    response = jsonify(document)
    response.headers["Cache-Control"] = f"public, max-age={max_age_seconds}"
    return response


def oauth_document(issuer: str, host_url: str, scopes: list[str]) -> dict[str, Any]:
    """Return the metadata of RFC 8414.

    Without `response_types_supported`: there is no authorization endpoint for them, and an empty
    list is forbidden (§3.2; erratum 7793 has it that the member is then left out).
    """
    host = host_url.rstrip("/")
    return {
        "issuer": issuer,
        "token_endpoint": host + TOKEN_PATH,
        "token_url": host + TOKEN_PATH,  # the name that the flow's write-up has for it
        "jwks_uri": host + JWKS_PATH,
        "scopes_supported": scopes,
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": list(METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        # What is left out here defaults to none and to Basic alone (RFC 8414 §2).
        "introspection_endpoint": host + INTROSPECTION_PATH,
        "introspection_endpoint_auth_methods_supported": list(METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "revocation_endpoint": host + REVOCATION_PATH,
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
    }


def openid_document(issuer: str, host_url: str, scopes: list[str]) -> dict[str, Any]:
    """Return the metadata of OIDC Discovery §3: what RFC 8414's has, and three lists it requires.

    A response type is required and an empty list is forbidden (§4.2), so it names `none`, which
    issues nothing. An `authorization_endpoint`, where it could be used, isn't there.
    """
    return {
        **oauth_document(issuer, host_url, scopes),
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ID_TOKEN_ALGORITHM],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "at_hash"],
    }
