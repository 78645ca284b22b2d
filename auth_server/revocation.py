"""`POST /oidc/revoke`: a client ends a token of its own (RFC 7009).

Revoked is an access token alone, by its `jti`, until it would have ended; introspection knows it
at once. A resource server that validates tokens by itself accepts it until its `exp` (decision 7).
"""

from authlib.oauth2.rfc6749.errors import InvalidGrantError
from flask import Blueprint, Response, request

from auth_server import audit
from auth_server.client_authentication.authenticated import Authentication
from auth_server.issued_tokens import InactiveTokenError, IssuedTokens
from auth_server.token_form import token_form
from shared.identifiers import REVOCATION_PATH


def revocation(authentication: Authentication, tokens: IssuedTokens) -> Blueprint:
    """Return the view of the revocation endpoint."""
    endpoint = Blueprint("revocation", __name__)

    @endpoint.post(REVOCATION_PATH)
    def revoke() -> Response:
        """End a token (§2.1). A hint, of whatever value, is ignored: there is one type of token."""
        form = token_form(request, required="token")
        client = authentication.authenticate(form).client
        audit.note(client_id=client.client_id)
        try:
            claims = tokens.claims_of_active(form.parameters["token"])
        except InactiveTokenError as reason:
            # §2.2: what the client wants is so already; an error would only confuse it.
            audit.note(outcome="nothing to revoke", reason=str(reason))
            return _done()
        if claims["client_id"] != client.client_id:
            # §2.1: refused, and the client is told. RFC 6749 §5.2 has this code for what "was
            # issued to another client". It tells nothing: who has the token could use it.
            audit.note(jti=claims["jti"])
            raise InvalidGrantError("The token was issued to another client.")
        tokens.revoke(claims)
        audit.note(outcome="revoked", jti=claims["jti"])
        return _done()

    return endpoint


def _done() -> Response:
    """Return the answer whose status says it all (§2.2)."""
    response = Response(status=200)
    del response.headers["Content-Type"]
    return response
