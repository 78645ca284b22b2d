"""Arrow 3: the authorization server answers `POST /oidc/token` with an access token.

Here arrow 1 arrives. The order: the form; who asks (arrow 2); whether it may use this grant;
which scopes, at which resource. Then the tokens are made, and the arrow passes.
"""

from typing import Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import grants
from flask import Blueprint, Response

from auth_server import access_token, audit, id_token
from auth_server.authorization_server import TokenRequest, TokenServer
from auth_server.registry import RegisteredClient
from auth_server.scope_policy import Granted, grant
from auth_server.settings import ID_TOKEN_ALGORITHM
from auth_server.token_form import token_form
from shared.arrows import Arrow, passed
from shared.at_hand import this_request
from shared.identifiers import TOKEN_PATH


def token_endpoint(server: TokenServer) -> Blueprint:
    """Return the view of the token endpoint."""
    endpoint = Blueprint("token_endpoint", __name__)
    server.register_grant(ClientCredentialsGrant)

    @endpoint.post(TOKEN_PATH)
    def issue_token() -> Response:
        """Exchange client credentials for an access token (RFC 6749 §4.4.2, §4.4.3)."""
        # Before Authlib, which would answer some of it with 500.
        form = token_form(this_request())
        audit.note(
            requested_scope=form.parameters.get("scope"),
            requested_resource=" ".join(form.resources),
        )
        response: Response = server.create_token_response(form)
        return response

    return endpoint


class ClientCredentialsGrant(grants.ClientCredentialsGrant):
    """RFC 6749 §4.4, narrowed to our scopes, our resources and our tokens."""

    server: TokenServer
    request: TokenRequest
    granted: Granted

    def validate_requested_scope(self) -> None:
        """Find out what is granted: Authlib silently leaves out scopes, and knows no resource."""
        try:
            self.granted = self._granted_to(self.client)
        except OAuth2Error:  # it may have been given the right a moment ago
            self.granted = self._granted_to(self.server.authentication.read_again(self.client))

    def _granted_to(self, client: RegisteredClient) -> Granted:
        form = self.request.token_form
        return grant(
            client.rights,
            form.parameters.get("scope"),
            form.resources,
            id_tokens=self.server.settings.id_tokens,
        )

    def generate_token(self, *_arguments: object, **_options: object) -> dict[str, Any]:
        """Return the answer's members (RFC 6749 §5.1); a refresh token is none of them (§4.4.3)."""
        server, settings = self.server, self.server.settings
        client_id: str = self.client.client_id
        issued_at = int(server.now())
        # Authlib's tokens for this grant live ten days.
        lifetime = settings.lifetime_seconds(self.client.access_token_lifetime_seconds)
        claims = access_token.access_token_claims(
            issuer=settings.issuer,
            client_id=client_id,
            granted=self.granted,
            issued_at=issued_at,
            lifetime_seconds=lifetime,
        )
        token = server.keys.sign(settings.access_token_algorithm, access_token.TYPE, claims)
        audit.note_token(token, claims, self.granted.scope)
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": self.granted.scope,
        }
        if self.granted.openid:
            claims = id_token.id_token_claims(
                issuer=settings.issuer,
                client_id=client_id,
                access_token=token,
                issued_at=issued_at,
                lifetime_seconds=settings.id_token_lifetime_seconds,
            )
            answer["id_token"] = server.keys.sign(ID_TOKEN_ALGORITHM, id_token.TYPE, claims)
        return answer

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        """Return status, body and headers of the answer."""
        status, answer, headers = super().create_token_response()
        passed(Arrow.ISSUE_TOKEN, status=status, parameters=answer)
        return status, answer, headers
