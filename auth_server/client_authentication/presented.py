"""What a client presents to prove who it is: taken from the one mechanism that it used."""

import re

from authlib.oauth2.rfc6749.errors import InvalidRequestError

from auth_server.client_authentication import client_secret, private_key_jwt
from auth_server.client_authentication.client_secret import ClientSecretCredentials
from auth_server.client_authentication.private_key_jwt import ClientAssertion
from auth_server.errors import InvalidClientError
from auth_server.token_form import TokenForm

Presented = ClientSecretCredentials | ClientAssertion

# A second header arrives behind a comma: `Basic abc,Basic def`.
_SECOND_HEADER = re.compile(r",\s*[A-Za-z][A-Za-z0-9-]*\s+[^\s=,]")


def presented_by(form: TokenForm) -> Presented:
    """Return what the one mechanism that was used presents (RFC 6749 §2.3: one, MUST NOT more).

    Half an assertion is a use of that mechanism as well.
    """
    header, parameters = form.authorization, form.parameters
    by_assertion = not parameters.keys().isdisjoint(private_key_jwt.PARAMETERS)
    by_post = "client_secret" in parameters
    if by_assertion + by_post + (header is not None) > 1 or _SECOND_HEADER.search(header or ""):
        raise InvalidRequestError("The client authenticates in more than one way.")
    if header is not None:
        return _header_credentials(header, parameters.get("client_id"))
    if by_post:
        return client_secret.post_credentials(parameters)
    if by_assertion:
        return private_key_jwt.client_assertion(parameters)
    raise InvalidClientError("nothing authenticates it")  # RFC 6749 §5.2 names this case


def _header_credentials(header: str, client_id: str | None) -> ClientSecretCredentials:
    if header.partition(" ")[0].lower() != "basic":
        raise InvalidClientError("the scheme of its Authorization header is not supported")
    try:
        credentials = client_secret.basic_credentials(header)
    except ValueError as error:
        raise InvalidClientError(f"its Basic credentials are malformed: {error}") from error
    # A client_id in the body is no second mechanism, but it has to name the same client. Where it
    # does not, authentication fails as RFC 7521 §4.2 has it for assertions; and as a header was
    # used, RFC 6749 §5.2 wants 401 and the challenge.
    if client_id not in (None, credentials.client_id):
        raise InvalidClientError("the client_id in the body is another than in the header")
    return credentials
