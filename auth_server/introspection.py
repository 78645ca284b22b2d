"""`POST /oidc/introspect`: a resource server asks whether a token is active (RFC 7662).

A resource server is a client that is registered to introspect one resource, and sees the tokens
made for it. Of every other token it hears that it is not active, and nothing else: the same for
one of another audience, an expired, revoked or forged one, an id_token, and any text (§2.2, MUST).

An answer is not throttled. Our tokens are signed, so there is nothing to fish for among texts
(§4), and a stranger who sends texts to a bank could stop the bank's own questions. What is
throttled is the failure to authenticate (`throttling/`). The answer is JSON: none is signed as in
RFC 9701.
"""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, request

from auth_server import audit
from auth_server.client_authentication.authenticated import Authentication
from auth_server.errors import MayNotIntrospectError
from auth_server.issued_tokens import InactiveTokenError, IssuedTokens
from auth_server.token_form import token_form
from shared.identifiers import INTROSPECTION_PATH

TOLD_CLAIMS = ("scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "jti")


def introspection(authentication: Authentication, tokens: IssuedTokens) -> Blueprint:
    """Return the view of the introspection endpoint."""
    endpoint = Blueprint("introspection", __name__)

    @endpoint.post(INTROSPECTION_PATH)
    def introspect() -> Response:
        """Tell a resource server of a token that was made for it (§2.1); its hint is ignored."""
        form = token_form(request, required="token")
        client = authentication.authenticate(form).client
        audit.note(client_id=client.client_id)
        if client.introspects is None:  # it may have become a resource server a moment ago
            client = authentication.read_again(client)
        if client.introspects is None:
            raise MayNotIntrospectError
        try:
            claims = tokens.claims_of_active(form.parameters["token"])
            _refuse_for_others(claims, client.introspects)
        except InactiveTokenError as reason:
            audit.note(outcome="inactive", reason=str(reason))
            return jsonify(active=False)
        audit.note(outcome="active", token_client_id=claims["client_id"], jti=claims["jti"])
        return jsonify(_told(claims))

    return endpoint


def _refuse_for_others(claims: Mapping[str, Any], resource: str) -> None:
    """Keep a token from a resource server that it was not made for (§4; RFC 9700 §2.3)."""
    if claims.get("aud") != resource:
        raise InactiveTokenError("it is for another resource")


def _told(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer of §2.2 for an active token; there is no `username`, as no user is."""
    said = {name: claims[name] for name in TOLD_CLAIMS if name in claims}
    return {"active": True, "token_type": "Bearer", **said}
