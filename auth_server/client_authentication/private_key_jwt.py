"""Client authentication by a signed assertion: private_key_jwt (RFC 7523 §2.2, OIDC Core §9).

The client signs a short-lived JWT with a private key that never leaves it; what is registered
here are public keys alone. Where RFC 7523 leaves a choice, draft-ietf-oauth-rfc7523bis makes it:
`aud` is our issuer and nothing else, as an assertion for the token endpoint's URL can be drawn out
of a client by another server that gives that URL for its own (CVE-2025-27370).

Authlib's JWTBearerClientAssertion is not used: it takes `aud` lists that name others too, has a
text for each cause of failure, and leaves `jti`, lifetime and keys to whoever uses it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from auth_server.client_authentication.client_keys import ClientKeys, KeepingRules
from auth_server.client_authentication.jwks_fetch import JwksFetch
from auth_server.client_authentication.nobodys_keys import nobodys_key
from auth_server.client_authentication.used_assertions import UsedAssertions
from auth_server.client_jwks import fully_specified, is_kid
from auth_server.errors import InvalidClientError
from auth_server.registry import RegisteredClient
from auth_server.settings import AuthServerSettings
from auth_server.signed_jwt import SignedJwt, signed_jwt
from shared.database import Database

METHOD: Final = "private_key_jwt"
METHODS: Final = (METHOD,)
PARAMETERS: Final = frozenset({"client_assertion", "client_assertion_type"})
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "Ed25519", "EdDSA")
"""What an assertion may be signed with; `EdDSA` is the name of Ed25519 before RFC 9864."""

# Until rfc7523bis an assertion had no type of its own. What has another one is no assertion, as
# an access token (RFC 8725 §3.12).
_TYPES: Final = (None, "jwt", "client-authentication+jwt")
_LATEST_TIME: Final = 253_402_300_799  # the end of the year 9999


@dataclass(frozen=True, slots=True)
class ClientAssertion:
    """What a client presented: who it says it is, and the JWT that shall prove it."""

    client_id: str
    jwt: SignedJwt = field(repr=False)
    method: str = METHOD


def client_assertion(parameters: Mapping[str, str]) -> ClientAssertion:
    """Return the assertion in the form (RFC 7521 §4.2).

    Raises InvalidClientError where it is none of a client that signs: nothing of it is proven.
    """
    if parameters.get("client_assertion_type") != ASSERTION_TYPE:
        raise InvalidClientError("its client_assertion_type is missing or another than jwt-bearer")
    try:
        jwt = signed_jwt(parameters.get("client_assertion", ""))
    except ValueError as error:
        raise InvalidClientError("its assertion is no well-formed JWT") from error
    client_id = _text(jwt.claims, "sub")
    if jwt.claims.get("iss") != client_id:  # RFC 7523 §3: both MUST be the client_id
        raise InvalidClientError("iss and sub of its assertion are not the same")
    # RFC 7521 §4.2: client_id is unnecessary here, and MUST name the same client.
    if parameters.get("client_id", client_id) != client_id:
        raise InvalidClientError("the client_id in the body is another than in the assertion")
    return ClientAssertion(client_id, jwt)


@dataclass(frozen=True, slots=True)
class AssertionRules:
    """What an assertion has to say; the settings explain each.

    ``audiences``: it is for one of these and for nobody else.
    """

    audiences: Collection[str]
    longest_lifetime_seconds: float
    leeway_seconds: float


@dataclass(frozen=True, slots=True)
class AssertionCheck:
    """Judges assertions in three steps: what they say, who signed them, whether they are new."""

    rules: AssertionRules
    keys: ClientKeys
    used: UsedAssertions
    now: Callable[[], float]

    def judge_claims(self, assertion: ClientAssertion) -> None:
        """Raise InvalidClientError where header or claims are not right; this costs nothing."""
        _judge_header(assertion.jwt.header)
        claims = assertion.jwt.claims
        if _sole_audience(claims) not in self.rules.audiences:
            raise InvalidClientError("its assertion is not for this server alone: see aud")
        self._judge_times(claims)
        _text(claims, "jti")

    def _judge_times(self, claims: Mapping[str, Any]) -> None:
        now, leeway = self.now(), self.rules.leeway_seconds
        expires_at = _time(claims, "exp")
        if now >= expires_at + leeway:  # RFC 7523 §3: MUST be refused
            raise InvalidClientError("its assertion has expired")
        if expires_at > now + self.rules.longest_lifetime_seconds + leeway:
            raise InvalidClientError("its assertion would live for too long: see exp")
        for name in {"iat", "nbf"} & claims.keys():
            if _time(claims, name) > now + leeway:
                raise InvalidClientError(f"its assertion is of the future: see {name}")

    def is_signed_by(self, client: RegisteredClient | None, assertion: ClientAssertion) -> bool:
        """Tell whether a key of ``client`` signed the assertion.

        One signature is verified in any case: where no key fits, with one that is nobody's.
        What still differs is the size of a key, and that a `jwks_uri` may be fetched.
        """
        header, jwt = assertion.jwt.header, assertion.jwt
        algorithm = fully_specified(header["alg"])
        key = None
        if client is not None and not client.is_disabled:
            key = self.keys.key_of(client, header.get("kid"), algorithm)
        tried = key or nobodys_key(algorithm)
        is_good = tried.verifies(algorithm, jwt.signing_input, jwt.signature)
        return key is not None and is_good

    def is_first_use(self, assertion: ClientAssertion) -> bool:
        """Note that the assertion was used; tell whether it was for the first time."""
        claims = assertion.jwt.claims
        ends_at = _time(claims, "exp") + self.rules.leeway_seconds
        return self.used.is_first_use(assertion.client_id, _text(claims, "jti"), ends_at)


def assertion_check(
    settings: AuthServerSettings, database: Database, now: Callable[[], float]
) -> AssertionCheck:
    """Return the check as the settings want it."""
    fetch = JwksFetch(
        settings.jwks_uri_timeout_seconds,
        may_be_internal=settings.jwks_uri_may_be_internal,
        may_be_plain_http=settings.jwks_uri_may_be_plain_http,
    )
    keeping = KeepingRules(
        max_age=settings.jwks_uri_max_age_seconds,
        cooldown=settings.jwks_uri_cooldown_seconds,
        outage=settings.jwks_uri_outage_seconds,
    )
    rules = AssertionRules(
        audiences={settings.issuer, *settings.client_assertion_audiences},
        longest_lifetime_seconds=settings.client_assertion_longest_lifetime_seconds,
        leeway_seconds=settings.client_assertion_leeway_seconds,
    )
    return AssertionCheck(rules, ClientKeys(fetch, keeping), UsedAssertions(database, now), now)


def _judge_header(header: Mapping[str, Any]) -> None:
    """Judge type, algorithm and `kid`; `jku`, `x5u` and `jwk` are not followed (RFC 8725 §3.10)."""
    typ, kid = header.get("typ"), header.get("kid")
    kind = typ.lower().removeprefix("application/") if isinstance(typ, str) else typ
    if kind not in _TYPES or ("typ" in header and typ is None):
        raise InvalidClientError("its assertion is of another type: see typ")
    if "crit" in header:  # RFC 7515 §4.1.11: we understand no extension, so refuse them all
        raise InvalidClientError("its assertion has critical extensions")
    if header.get("alg") not in ALGORITHMS:
        raise InvalidClientError("its assertion is signed with an algorithm that is not taken")
    if kid is not None and not is_kid(kid):
        raise InvalidClientError("the kid of its assertion is malformed")


def _sole_audience(claims: Mapping[str, Any]) -> str | None:
    """Return the one audience; None where there is none, or more (rfc7523bis: sole value)."""
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    return audience if isinstance(audience, str) else None


def _time(claims: Mapping[str, Any], name: str) -> float:
    """Return the claim's NumericDate (RFC 7519 §2); to Python, True is a number as well."""
    value = claims.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= cast("float", value) <= _LATEST_TIME:
        raise InvalidClientError(f"{name} of its assertion is missing or malformed")
    return cast("float", value)


def _text(claims: Mapping[str, Any], name: str) -> str:
    """Return the claim: printable, as a lone surrogate breaks what comes after us."""
    value = claims.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InvalidClientError(f"{name} of its assertion is missing or malformed")
    return value
