"""The form of a token request, judged before Authlib sees it (RFC 6749 §3.2, §4.4.2).

Introspection and revocation take theirs by the same rules (RFC 7662 §2.1, RFC 7009 §2.1).

Authlib reads parameters from the query too, lets repeated ones pass, and answers some malformed
requests with 500. So what reaches it is a plain mapping in which each name stands once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from flask import Request
from werkzeug.exceptions import BadRequest

from shared.whole_body import whole_body

FORM_TYPE = "application/x-www-form-urlencoded"
CREDENTIALS = frozenset({"client_secret", "client_assertion"})
GRANT_TYPE = "grant_type"
RESOURCE = "resource"

_BROKEN_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class TokenForm:
    """The parameters of a request, each once and none empty.

    ``resources`` alone may come more than once: RFC 8707 §2 has an error of its own for it.
    """

    parameters: Mapping[str, str] = field(repr=False)
    resources: tuple[str, ...] = ()
    authorization: str | None = field(default=None, repr=False)


def token_form(request: Request, required: str = GRANT_TYPE) -> TokenForm:
    """Return the form in the body of ``request``.

    Raises InvalidRequestError where it is not well-formed, repeats a parameter, or has no
    ``required`` one; and where that or credentials stand in the URL, which is logged everywhere
    (§2.3.1: MUST NOT). Any other query parameter is ignored.
    """
    not_in_the_url = CREDENTIALS if required == GRANT_TYPE else CREDENTIALS | {required}
    environ = request.environ
    if environ.get("QUERY_STRING") and not not_in_the_url.isdisjoint(request.args):
        raise InvalidRequestError("Credentials may not stand in the URL.")
    # What comes most first: the mimetype is without a charset, and costs more to find.
    if environ.get("CONTENT_TYPE") != FORM_TYPE and request.mimetype != FORM_TYPE:
        raise InvalidRequestError(f"The body has to be {FORM_TYPE}.")
    parameters: dict[str, str] = {}
    resources: list[str] = []
    for name, value in _pairs(_body(request)):
        if name == RESOURCE:
            resources.append(value)
        elif name in parameters:
            raise InvalidRequestError("A parameter is repeated.")
        else:
            parameters[name] = value
    if required not in parameters:
        # Authlib: unsupported_grant_type; RFC 6749 §5.2 has invalid_request for what is missing.
        raise InvalidRequestError(f"The parameter {required} is missing.")
    return TokenForm(parameters, tuple(resources), environ.get("HTTP_AUTHORIZATION"))


def form_decoded(text: bytes) -> str:
    """Return ``text`` decoded as in a form: `+` is a space, `%XX` a byte, the bytes are UTF-8.

    RFC 6749 Appendix B. Raises ValueError where it is not well-formed.
    """
    if b"%" in text:
        if _BROKEN_PERCENT.search(text):
            raise ValueError("a broken percent-encoding")
        text = unquote_to_bytes(text.replace(b"+", b" "))
    else:
        text = text.replace(b"+", b" ")
    return text.decode()


def _body(request: Request) -> bytes:
    try:
        return whole_body(request)
    except BadRequest as error:
        raise InvalidRequestError("The body is broken, or shorter than its length.") from error


def _pairs(body: bytes) -> list[tuple[str, str]]:
    """Return names and values; an empty value counts as omitted (RFC 6749 §3.2, MUST)."""
    decoded = form_decoded if b"%" in body or b"+" in body else bytes.decode
    pieces = [piece.partition(b"=") for piece in body.split(b"&")]
    try:
        return [(decoded(name), decoded(value)) for name, _, value in pieces if value]
    except ValueError as error:
        raise InvalidRequestError("The form is not well-formed UTF-8.") from error
