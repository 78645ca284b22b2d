"""The check of an access token, at the front of a view: `@require_token(scope="Read")`.

Arrow 4 arrives here. With `issuer_keys.py` and `shared/arrows.py` this file is meant to be copied
into an API of your own: a validator (RFC 9068 §4, RFC 8725), and a Flask decorator that reads the
Authorization header and answers with the challenges of RFC 6750 §3.

The order: what costs nothing is judged first, so no cryptography is spent and no key fetched for
a token that is refused anyway. RFC 7519 §7.2 leaves the order open. Nothing that was read counts
before the signature, which comes last, has been verified.

Not checked: whether the token was revoked since it was issued (it is good until its `exp`), and
whether who brings it is who it was issued to (RFC 9700 §2.2.1 says how that could be done).
"""

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, ParamSpec, Protocol, cast

from flask import Flask, Response, current_app, g, json, request
from flask.typing import ResponseReturnValue

from resource_server.issuer_keys import (
    IssuerKey,
    KeysUnavailableError,
    UnknownKeyError,
    base64url_decoded,
    json_object,
)
from shared.arrows import refused

LONGEST_TOKEN: Final = 8 * 1024
LONGEST_KID: Final = 256
LATEST_TIME: Final = 253_402_300_799  # the end of the year 9999
EXTENSION: Final = "token_check"

_BEARER = re.compile(r"bearer(?: +(?P<token>.*)|\s.*)?", re.IGNORECASE | re.DOTALL)
_ANOTHER_BEARER = re.compile(r",\s*bearer\b", re.IGNORECASE)
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1
_NOT_IN_A_DESCRIPTION = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")  # RFC 6750 §3

View = ParamSpec("View")


def require_token(
    *, scope: str
) -> Callable[[Callable[View, ResponseReturnValue]], Callable[View, ResponseReturnValue]]:
    """Let only requests with a good access token of ``scope`` into the view.

    The view finds what the token says with `verified_token()`. The application must have been
    given its check with `check_tokens`.
    """

    def decorate(view: Callable[View, ResponseReturnValue]) -> Callable[View, ResponseReturnValue]:
        @wraps(view)
        def guarded(*args: View.args, **kwargs: View.kwargs) -> ResponseReturnValue:
            check: TokenCheck = current_app.extensions[EXTENSION]
            try:
                g.verified_token = check.admit(request.headers.get("Authorization"), scope)
            except BearerError as refusal:
                return _answer(refusal, check.realm)
            return view(*args, **kwargs)

        guarded.required_scope = scope  # type: ignore[attr-defined]  # a test asks every route
        return guarded

    return decorate


def verified_token() -> "VerifiedToken":
    """Return the token of the current request; only within a view that requires one."""
    return cast("VerifiedToken", g.verified_token)


def check_tokens(app: Flask, validator: "TokenValidator", realm: str) -> None:
    """Give ``app`` the check that its `@require_token` uses."""
    app.extensions[EXTENSION] = TokenCheck(validator, realm)


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a token said whose signature and claims were found good."""

    client_id: str
    subject: str
    token_id: str
    scopes: frozenset[str]
    issued_at: float
    expires_at: float


class BearerError(Exception):
    """A refusal: its status, and code and description of RFC 6750 §3.1 where it has them."""

    status = HTTPStatus.UNAUTHORIZED
    error: str | None = None
    """The code in the challenge; None where the RFC wants the challenge bare."""
    name = "token_missing"
    """The code in the log, where `error` is None."""

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = _NOT_IN_A_DESCRIPTION.sub("?", description)


class NoTokenError(BearerError):
    """The request has no token, or one of a scheme that is not ours (RFC 6750 §3.1)."""


class MalformedRequestError(BearerError):
    """The Authorization header is not `Bearer` and one token."""

    status = HTTPStatus.BAD_REQUEST
    error = "invalid_request"


class InvalidTokenError(BearerError):
    """The token is malformed, forged, stale, or not for us."""

    error = "invalid_token"


class InsufficientScopeError(BearerError):
    """The token is good, but not for this."""

    status = HTTPStatus.FORBIDDEN
    error = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"the token has no scope {scope}")
        self.scope = scope


class CannotJudgeError(BearerError):
    """The token may be good; without the issuer's keys nobody can tell now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    name = "issuer_unreachable"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("the issuer's keys cannot be fetched now")
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """What an application's `@require_token` needs: the validator and its realm."""

    validator: "TokenValidator"
    realm: str

    def admit(self, authorization: str | None, scope: str) -> VerifiedToken:
        """Return the token in the header if it is good and has ``scope``; raise BearerError."""
        verified = self.validator.validate(bearer_token(authorization))
        if scope not in verified.scopes:
            raise InsufficientScopeError(scope)
        return verified


def bearer_token(authorization: str | None) -> str:
    """Return the token of an Authorization header (RFC 6750 §2.1).

    A token in the query or the body is no token here: OAuth 2.1 §5.1 has them ignored there.
    A server joins several headers of one name by a comma, which no token contains.
    """
    if authorization is None or not authorization.strip():
        raise NoTokenError("this needs an access token: Authorization: Bearer <access_token>")
    if _ANOTHER_BEARER.search(authorization):
        raise MalformedRequestError("more than one Authorization header")
    header = _BEARER.fullmatch(authorization)
    if header is None:
        raise NoTokenError("the Authorization header has another scheme than Bearer")
    token = header["token"] or ""
    if not _B64TOKEN.fullmatch(token):
        raise MalformedRequestError("the Authorization header is not Bearer and one token")
    return token


class KeySource(Protocol):
    """Where the validator gets the issuer's keys: `issuer_keys.IssuerKeys`, or a test's."""

    def key(self, kid: str) -> IssuerKey:
        """Return the key; raises UnknownKeyError or KeysUnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class TokenValidator:
    """Judges JWT access tokens of one issuer for one API (RFC 9068 §4)."""

    issuer: str
    audience: str
    keys: KeySource
    algorithms: Collection[str] = ("RS256", "PS256", "ES256", "Ed25519")
    leeway_seconds: float = 5
    now: Callable[[], float] = time.time

    def validate(self, token: str) -> VerifiedToken:
        """Return what ``token`` says, if it is good.

        Raises InvalidTokenError, and CannotJudgeError where the issuer's keys are out of reach.
        """
        unverified = _parsed(token)
        self._judge_header(unverified.header)
        self._judge_parties(unverified.claims)
        self._judge_times(unverified.claims)
        said = _said(unverified.claims)
        if not self._key(unverified.header).verifies(
            unverified.signing_input, unverified.signature
        ):
            raise InvalidTokenError("the signature is not good")
        return said

    def _judge_header(self, header: Mapping[str, Any]) -> None:
        """Judge type and algorithm; `jku`, `x5u`, `jwk` and what else is unknown is ignored."""
        _judge_type(header.get("typ"))
        if "crit" in header:  # RFC 7515 §4.1.11: we understand no extension, so refuse them all
            raise InvalidTokenError("the token has critical extensions, and none is understood")
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self.algorithms:
            raise InvalidTokenError("the token is signed with an algorithm that is not taken")

    def _judge_parties(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") != self.issuer:  # RFC 9068 §4: MUST match exactly
            raise InvalidTokenError(f"the token is not of the issuer {self.issuer}")
        audience = claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else audience
        if not isinstance(audiences, list) or not all(isinstance(aud, str) for aud in audiences):
            raise InvalidTokenError("aud is missing or malformed")
        if self.audience not in audiences:
            raise InvalidTokenError(f"the token is for another API: aud lacks {self.audience}")

    def _judge_times(self, claims: Mapping[str, Any]) -> None:
        now = self.now()
        if now >= _time(claims, "exp") + self.leeway_seconds:
            raise InvalidTokenError("the token has expired")
        if _time(claims, "iat") > now + self.leeway_seconds:
            raise InvalidTokenError("the token was issued in the future")
        if "nbf" in claims and _time(claims, "nbf") > now + self.leeway_seconds:
            raise InvalidTokenError("the token is not valid yet")

    def _key(self, header: Mapping[str, Any]) -> IssuerKey:
        kid = header.get("kid")
        if not isinstance(kid, str) or not 0 < len(kid) <= LONGEST_KID:
            raise InvalidTokenError("kid is missing or malformed")
        try:
            key = self.keys.key(kid)
        except UnknownKeyError as error:
            raise InvalidTokenError("the issuer publishes no key of this kid") from error
        except KeysUnavailableError as error:
            raise CannotJudgeError(error.retry_after_seconds) from error
        if key.algorithm != header["alg"]:  # RFC 8725 §3.1: one key, one algorithm
            raise InvalidTokenError("the key of this kid is for another algorithm")
        return key


@dataclass(frozen=True, slots=True)
class _UnverifiedToken:
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def _parsed(token: str) -> _UnverifiedToken:
    """Take ``token`` apart; its size is judged before anything is parsed."""
    if len(token) > LONGEST_TOKEN:
        raise InvalidTokenError(f"the token is longer than {LONGEST_TOKEN} characters")
    segments = token.split(".")
    if len(segments) != 3:
        raise InvalidTokenError("the token is no signed JWT")
    header, claims, signature = segments
    try:
        return _UnverifiedToken(
            header=json_object(base64url_decoded(header)),
            claims=json_object(base64url_decoded(claims)),
            signing_input=f"{header}.{claims}".encode("ascii"),
            signature=base64url_decoded(signature),
        )
    except ValueError as error:
        raise InvalidTokenError("the token is no well-formed JWT") from error


def _judge_type(typ: object) -> None:
    """Refuse what is no access token: the id_token is a good JWT of the same issuer, too."""
    kind = typ.lower().removeprefix("application/") if isinstance(typ, str) else None
    if kind == "at+jwt":  # RFC 9068 §4
        return
    if kind == "jwt":
        raise InvalidTokenError(
            "this is not an access token but an id_token or some other JWT (typ is JWT): "
            "send the access_token of the token response, whose typ is at+jwt"
        )
    raise InvalidTokenError("this is not an access token: typ must be at+jwt")


def _time(claims: Mapping[str, Any], name: str) -> float:
    """Return the claim's NumericDate (RFC 7519 §2); to Python, True is a number as well."""
    value = claims.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= cast("float", value) <= LATEST_TIME:
        raise InvalidTokenError(f"{name} is missing or malformed")
    return cast("float", value)


def _said(claims: Mapping[str, Any]) -> VerifiedToken:
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise InvalidTokenError("scope is malformed")
    return VerifiedToken(
        client_id=_text(claims, "client_id"),
        subject=_text(claims, "sub"),
        token_id=_text(claims, "jti"),
        scopes=frozenset(scope.split(" ")) - {""},
        issued_at=_time(claims, "iat"),
        expires_at=_time(claims, "exp"),
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    """Return the claim: printable, as NUL and lone surrogates break what comes after us."""
    value = claims.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InvalidTokenError(f"{name} is missing or malformed")
    return value


def _answer(refusal: BearerError, realm: str) -> Response:
    """Answer with the challenge (RFC 6750 §3), and the same as problem details (RFC 9457)."""
    status = refusal.status
    refused(
        status.value,
        refusal.error or refusal.name,
        method=request.method,
        url=request.base_url,
        parameters={"error_description": refusal.description},
    )
    problem = {"type": "about:blank", "title": status.phrase, "status": status.value}
    problem["detail"] = refusal.description
    answer = Response(json.dumps(problem), status, mimetype="application/problem+json")
    answer.headers["Cache-Control"] = "no-store"
    if isinstance(refusal, CannotJudgeError):
        answer.headers["Retry-After"] = str(refusal.retry_after_seconds)
    else:
        answer.headers["WWW-Authenticate"] = _challenge(refusal, realm)
    return answer


def _challenge(refusal: BearerError, realm: str) -> str:
    parameters = {"realm": realm}
    if refusal.error:
        parameters |= {"error": refusal.error, "error_description": refusal.description}
    if isinstance(refusal, InsufficientScopeError):
        parameters["scope"] = refusal.scope
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())
