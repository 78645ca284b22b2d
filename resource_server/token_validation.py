"""The check of an access token, at the front of a view: `@require_token(scope="Read")`.

Arrow 4 arrives here. With `issuer_keys.py`, `shared/arrows.py` and `shared/at_hand.py` this file is
meant to be copied into an API of your own: a validator (RFC 9068 §4, RFC 8725), and a Flask
decorator that reads the Authorization header and answers with the challenges of RFC 6750 §3.

The order: what costs nothing is judged first, so no cryptography is spent and no key fetched for
a token that is refused anyway. RFC 7519 §7.2 leaves the order open. Nothing that was read counts
before the signature, which comes last, has been verified. A token that was found good is
remembered by its digest: when it comes again, its times, its key and its scope are looked at again
and the rest is not.

Not checked: whether the token was revoked since it was issued (it is good until its `exp`), and
whether who brings it is who it was issued to (RFC 9700 §2.2.1 says how that could be done).
"""

import re
import string
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from hashlib import blake2b
from http import HTTPStatus
from threading import Lock
from typing import Any, Final, NamedTuple, ParamSpec, Protocol, cast

from flask import Flask, Response, g, json, request
from flask.typing import ResponseReturnValue

from resource_server.issuer_keys import (
    IssuerKey,
    KeysUnavailableError,
    UnknownKeyError,
    base64url_decoded,
    json_object,
)
from shared.arrows import refused
from shared.at_hand import this_context, this_request

LONGEST_TOKEN: Final = 8 * 1024
LONGEST_KID: Final = 256
LATEST_TIME: Final = 253_402_300_799  # the end of the year 9999
MOST_REMEMBERED: Final = 1000
EXTENSION: Final = "token_check"

_OF_A_TOKEN = f"{string.ascii_letters}{string.digits}._~+/-".encode()  # RFC 6750 §2.1
_BEARER = re.compile(r"bearer(?:\s|$)", re.IGNORECASE)
_ANOTHER_BEARER = re.compile(r",\s*bearer\b", re.IGNORECASE)
_NOT_BEARER_AND_ONE: Final = "the Authorization header is not Bearer and one token"
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
            context = this_context()
            check: TokenCheck = context.app.extensions[EXTENSION]
            try:
                authorization = this_request().environ.get("HTTP_AUTHORIZATION")
                context.g.verified_token = check.admit(authorization, scope)
            except BearerError as refusal:
                return _answer(refusal, check)
            return view(*args, **kwargs)

        guarded.required_scope = scope  # type: ignore[attr-defined]  # a test asks every route
        return guarded

    return decorate


def verified_token() -> "VerifiedToken":
    """Return the token of the current request; only within a view that requires one."""
    return cast("VerifiedToken", g.verified_token)


def check_tokens(
    app: Flask,
    validator: "Validator",
    realm: str,
    resource_metadata: Callable[[], str] | None = None,
) -> None:
    """Give ``app`` the check that its `@require_token` uses.

    ``resource_metadata`` returns, within a request, the URL of the document by which a client
    finds the issuer (RFC 9728), where there is one.
    """
    app.extensions[EXTENSION] = TokenCheck(validator, realm, resource_metadata)


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a token said that was found good; times in seconds since 1970."""

    client_id: str
    subject: str
    token_id: str
    scopes: frozenset[str]
    issued_at: float
    not_before: float
    expires_at: float


class BearerError(Exception):
    """A refusal: its status, and code and description of RFC 6750 §3.1 where it has them.

    What else is given as a keyword is what the token said: for the log, not for the caller.
    """

    status = HTTPStatus.UNAUTHORIZED
    error: str | None = None
    """The code in the challenge; None where the RFC wants the challenge bare."""
    name = "token_missing"
    """The code in the log, where `error` is None."""

    def __init__(self, description: str, **said: object) -> None:
        super().__init__(description)
        self.description = _NOT_IN_A_DESCRIPTION.sub("?", description)
        self.said = {name: _shown(value) for name, value in said.items()}


class NoTokenError(BearerError):
    """The request has no token, or one of a scheme that is not ours (RFC 6750 §3.1)."""


class MalformedRequestError(BearerError):
    """The Authorization header is not `Bearer` and one token."""

    status = HTTPStatus.BAD_REQUEST
    error = "invalid_request"


class InvalidTokenError(BearerError):
    """The token is malformed, forged, stale, or not for us."""

    error = "invalid_token"


class MalformedClaimError(InvalidTokenError):
    """A claim is missing, or not of the form that it must have."""


class InsufficientScopeError(BearerError):
    """The token is good, but not for this."""

    status = HTTPStatus.FORBIDDEN
    error = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"the token has no scope {scope}")
        self.scope = scope


class CannotJudgeError(BearerError):
    """The token may be good; without its issuer nobody can tell now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    name = "issuer_unreachable"

    def __init__(self, description: str, retry_after_seconds: int) -> None:
        super().__init__(description)
        self.retry_after_seconds = retry_after_seconds


class Validator(Protocol):
    """Who judges tokens: `TokenValidator`, or one that asks the issuer."""

    def validate(self, token: str) -> VerifiedToken:
        """Return what ``token`` says, if it is good; raise BearerError.

        It may be any text: see `refuse_malformed`.
        """
        ...


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """What an application's `@require_token` needs."""

    validator: Validator
    realm: str
    resource_metadata: Callable[[], str] | None = None

    def admit(self, authorization: str | None, scope: str) -> VerifiedToken:
        """Return the token in the header if it is good and has ``scope``; raise BearerError."""
        verified = self.validator.validate(bearer_token(authorization))
        if scope not in verified.scopes:
            raise InsufficientScopeError(scope)
        return verified


def bearer_token(authorization: str | None) -> str:
    """Return what stands for the token in an Authorization header (RFC 6750 §2.1).

    A token in the query or the body is no token here: OAuth 2.1 §5.1 has them ignored there.
    Whether it can be one, `refuse_malformed` tells.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise _why_there_is_no_token(authorization or "")
    return token.lstrip(" ")


def _why_there_is_no_token(authorization: str) -> BearerError:
    if not authorization.strip():
        return NoTokenError("this needs an access token: Authorization: Bearer <access_token>")
    if _ANOTHER_BEARER.search(authorization):
        return MalformedRequestError("more than one Authorization header")
    if _BEARER.match(authorization):
        return MalformedRequestError(_NOT_BEARER_AND_ONE)
    return NoTokenError("the Authorization header has another scheme than Bearer")


def refuse_malformed(token: str) -> None:
    """Judge form and size, before anything is parsed or sent on.

    A server joins several headers of one name by a comma, which no token contains.
    """
    if not _is_one_token(token):
        several = _ANOTHER_BEARER.search(token)
        raise MalformedRequestError(
            "more than one Authorization header" if several else _NOT_BEARER_AND_ONE
        )
    if len(token) > LONGEST_TOKEN:
        raise InvalidTokenError(f"the token is longer than {LONGEST_TOKEN} characters")


def _is_one_token(text: str) -> bool:
    """Tell whether ``text`` is b64token = 1*( ALPHA / DIGIT / one of -._~+/ ) *"="."""
    characters = text.rstrip("=").encode("utf-8", "surrogatepass")
    return bool(characters) and not characters.translate(None, delete=_OF_A_TOKEN)


class KeySource(Protocol):
    """Where the validator gets the issuer's keys: `issuer_keys.IssuerKeys`, or a test's."""

    def key(self, kid: str) -> IssuerKey:
        """Return the key; raises UnknownKeyError or KeysUnavailableError."""
        ...


class RememberedTokens:
    """Tokens that were found good, by their digest (BLAKE2b, RFC 7693); no token itself is held.

    Bounded: the one that was remembered first goes first. Only a token whose signature is good
    gets in, so nobody else's flood drives out what is here. Safe to share between threads, and not
    between validators of other issuers or audiences.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._tokens: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._adding = Lock()

    def __len__(self) -> int:
        return len(self._tokens)

    def get(self, digest: bytes) -> "_Remembered | None":
        """Return what was remembered under ``digest``."""
        return self._tokens.get(digest)

    def add(self, digest: bytes, remembered: "_Remembered") -> None:
        """Remember; a bound of 0 remembers nothing."""
        with self._adding:
            self._tokens[digest] = remembered
            while len(self._tokens) > self._most:
                self._tokens.popitem(last=False)


class _Remembered(NamedTuple):
    """What a good token said, and the key that vouched for it."""

    token: VerifiedToken
    kid: str
    key: IssuerKey


@dataclass(frozen=True, slots=True)
class TokenValidator:
    """Judges JWT access tokens of one issuer for one API (RFC 9068 §4)."""

    issuer: str
    audience: str
    keys: KeySource
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "Ed25519")
    leeway_seconds: float = 5
    now: Callable[[], float] = time.time
    remembered: RememberedTokens = field(default_factory=RememberedTokens, repr=False)

    def validate(self, token: str) -> VerifiedToken:
        """Return what ``token`` says, if it is good.

        Raises MalformedRequestError for what can be no token, InvalidTokenError, and
        CannotJudgeError where the issuer's keys are out of reach.
        """
        digest = blake2b(token.encode("utf-8", "surrogatepass")).digest()
        remembered = self.remembered.get(digest)
        if remembered is not None and self._is_still_good(remembered):
            return remembered.token
        refuse_malformed(token)  # one that is remembered is not
        verified = self._verified(token)
        self.remembered.add(digest, verified)
        return verified.token

    def _is_still_good(self, remembered: _Remembered) -> bool:
        """Judge again what may have changed: times, and whether the issuer has this key still."""
        now, token = self.now(), remembered.token
        if not (token.issued_at <= now < token.expires_at and token.not_before <= now):
            judge_times(token, now, self.leeway_seconds)  # else it is good with any leeway
        key = self._key(remembered.kid)
        return key is remembered.key or key == remembered.key  # the first spares a tenth of it all

    def _verified(self, token: str) -> _Remembered:
        unverified = _parsed(token, self.algorithms)
        judge_issuer(unverified.claims, self.issuer)
        judge_audience(unverified.claims, self.audience)
        said = _said(unverified.claims)
        judge_times(said, self.now(), self.leeway_seconds)
        kid = unverified.header.kid
        key = self._key(kid)
        if key.algorithm != unverified.header.algorithm:  # RFC 8725 §3.1: one key, one algorithm
            raise InvalidTokenError("the key of this kid is for another algorithm", kid=kid)
        if not key.verifies(unverified.signing_input, unverified.signature):
            raise InvalidTokenError("the signature is not good", kid=kid)
        return _Remembered(said, kid, key)

    def _key(self, kid: str) -> IssuerKey:
        try:
            return self.keys.key(kid)
        except UnknownKeyError as error:
            raise InvalidTokenError("the issuer publishes no key of this kid", kid=kid) from error
        except KeysUnavailableError as error:
            raise CannotJudgeError(
                "the issuer's keys cannot be fetched now", error.retry_after_seconds
            ) from error


def judge_issuer(claims: Mapping[str, Any], issuer: str) -> None:
    """Refuse a token of another issuer, or of another environment: that is another issuer."""
    iss = claims.get("iss")
    if iss != issuer:  # RFC 9068 §4: MUST match exactly
        raise InvalidTokenError(f"the token is of another issuer: iss is not {issuer}", iss=iss)


def judge_audience(claims: Mapping[str, Any], audience: str) -> None:
    """Refuse a token that was made for other APIs (RFC 9068 §4)."""
    aud = claims.get("aud")
    if aud == audience:
        return
    audiences = [aud] if isinstance(aud, str) else aud
    if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
        raise MalformedClaimError("aud is missing or malformed")
    if audience not in audiences:
        raise InvalidTokenError(f"the token is for another API: aud lacks {audience}", aud=aud)


def judge_times(token: VerifiedToken, now: float, leeway: float) -> None:
    """Refuse what is no longer or not yet good, by clocks that ``leeway`` may lie between."""
    if now >= token.expires_at + leeway:
        raise InvalidTokenError("the token has expired", exp=token.expires_at)
    if token.issued_at > now + leeway:
        raise InvalidTokenError("the token was issued in the future", iat=token.issued_at)
    if token.not_before > now + leeway:
        raise InvalidTokenError("the token is not valid yet", nbf=token.not_before)


class _Header(NamedTuple):
    algorithm: str
    kid: str


class _UnverifiedToken(NamedTuple):
    header: _Header
    claims: Mapping[str, Any]
    signing_input: bytes
    signature: bytes


def _parsed(token: str, algorithms: tuple[str, ...]) -> _UnverifiedToken:
    """Take ``token`` apart, and judge its header."""
    signing_input, _, signature = token.rpartition(".")
    header, dot, claims = signing_input.partition(".")
    if not dot or "." in claims:
        raise InvalidTokenError("the token is no signed JWT")
    try:
        return _UnverifiedToken(
            header=_judged_header(header, algorithms),
            claims=json_object(base64url_decoded(claims)),
            signing_input=signing_input.encode("ascii"),
            signature=base64url_decoded(signature),
        )
    except ValueError as error:
        raise InvalidTokenError("the token is no well-formed JWT") from error


@lru_cache(maxsize=32)  # all tokens that a key signed have one header; a refusal is not kept
def _judged_header(segment: str, algorithms: tuple[str, ...]) -> _Header:
    """Judge the header; `jku`, `x5u`, `jwk` and what else is unknown is ignored."""
    header = json_object(base64url_decoded(segment))
    _judge_type(header.get("typ"))
    if "crit" in header:  # RFC 7515 §4.1.11: we understand no extension, so refuse them all
        raise InvalidTokenError("the token has critical extensions, and none is understood")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise InvalidTokenError(
            "the token is signed with an algorithm that is not taken", alg=algorithm
        )
    if not isinstance(kid, str) or not 0 < len(kid) <= LONGEST_KID:
        raise InvalidTokenError("kid is missing or malformed")
    return _Header(algorithm, kid)


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
    raise InvalidTokenError("this is not an access token: typ must be at+jwt", typ=typ)


def _said(claims: Mapping[str, Any]) -> VerifiedToken:
    """Return what the claims say, each of the form that it must have (RFC 9068 §2.2)."""
    return VerifiedToken(
        client_id=text_in(claims, "client_id"),
        subject=text_in(claims, "sub"),
        token_id=text_in(claims, "jti"),
        scopes=scopes_in(claims),
        issued_at=time_in(claims, "iat"),
        not_before=time_in(claims, "nbf") if "nbf" in claims else 0,
        expires_at=time_in(claims, "exp"),
    )


def scopes_in(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes (RFC 8693 §4.2); a token need not have any."""
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise MalformedClaimError("scope is malformed")
    return _scopes(scope)


@lru_cache(maxsize=128)  # there are far fewer than tokens
def _scopes(scope: str) -> frozenset[str]:
    return frozenset(scope.split(" ")) - {""}


def time_in(claims: Mapping[str, Any], name: str) -> float:
    """Return the claim's NumericDate (RFC 7519 §2); to Python, True is a number as well."""
    value = claims.get(name)
    if type(value) not in (int, float) or not 0 <= cast("float", value) <= LATEST_TIME:
        raise MalformedClaimError(f"{name} is missing or malformed")
    return cast("float", value)


def text_in(claims: Mapping[str, Any], name: str) -> str:
    """Return the claim: printable, as NUL and lone surrogates break what comes after us."""
    value = claims.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise MalformedClaimError(f"{name} is missing or malformed")
    return value


def _shown(value: object) -> str:
    """Return ``value`` as it may stand in a log: what a stranger's token says is anything."""
    if isinstance(value, str | int | float):
        return ascii(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ascii(value)
    return type(value).__name__


def _answer(refusal: BearerError, check: TokenCheck) -> Response:
    """Answer with the challenge (RFC 6750 §3), and the same as problem details (RFC 9457)."""
    status = refusal.status
    refused(
        status.value,
        refusal.error or refusal.name,
        method=request.method,
        url=request.base_url,
        parameters={"error_description": refusal.description, **refusal.said},
    )
    problem = {"type": "about:blank", "title": status.phrase, "status": status.value}
    problem["detail"] = refusal.description
    answer = Response(json.dumps(problem), status, mimetype="application/problem+json")
    answer.headers["Cache-Control"] = "no-store"
    if isinstance(refusal, CannotJudgeError):
        answer.headers["Retry-After"] = str(refusal.retry_after_seconds)
    else:
        answer.headers["WWW-Authenticate"] = _challenge(refusal, check)
    return answer


def _challenge(refusal: BearerError, check: TokenCheck) -> str:
    parameters = {"realm": check.realm}
    if refusal.error:
        parameters |= {"error": refusal.error, "error_description": refusal.description}
    if isinstance(refusal, InsufficientScopeError):
        parameters["scope"] = refusal.scope
    if check.resource_metadata is not None:  # RFC 9728 §5.1
        parameters["resource_metadata"] = check.resource_metadata()
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())
