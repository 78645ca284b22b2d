"""The issuer's public keys: found through its metadata, fetched over HTTP and kept.

With `token_validation.py` this is what an API needs to check access tokens; the two depend on
nothing else of the bank. What is fetched is judged like any input: a document that is broken or
hostile never replaces a good one.

Not done here: no key is looked up where a token says (`jku`, `x5u`: RFC 8725 §3.10), and
certificates (`x5c`) are not looked at; the issuer's TLS certificate is what vouches for its keys.
"""

import json
import logging
import math
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

import requests
from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key
from joserfc.jws import JWSRegistry
from urllib3.exceptions import HTTPError

log = logging.getLogger(__name__)

METADATA_PATH: Final = "/.well-known/openid-configuration"
LARGEST_DOCUMENT_BYTES: Final = 64 * 1024
DEFAULT_MAX_AGE_SECONDS: Final = 300
RSA_SMALLEST_BITS: Final = 2048  # RFC 7518 §3.3
RSA_LARGEST_BITS: Final = 8192  # a larger one only makes each check slow
# A generator in widely sold chips made keys that can be factored (ROCA, CVE-2017-15361): to each of
# these primes, the modulus is a power of 65537. Of other keys, one in 2**27 looks so by chance.
ROCA_PRIMES: Final = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)

# The defaults of joserfc leave PS256 and Ed25519 out.
_SIGNATURES = JWSRegistry(algorithms=["RS256", "PS256", "ES256", "Ed25519"])
_ALGORITHMS_OF_TYPE: Final = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("Ed25519",),
}
_PUBLIC_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MAX_AGE = re.compile(r'(?:^|[\s,])max-age="?(\d{1,10})', re.IGNORECASE)
_NOT_TO_BE_KEPT = re.compile(r"(?:^|[\s,])no-(?:store|cache)\b", re.IGNORECASE)


class UnknownKeyError(Exception):
    """The issuer publishes no key of this `kid`."""


class KeysUnavailableError(Exception):
    """There are no keys to judge with, as the issuer cannot be reached; try again later."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("the issuer's keys cannot be fetched")
        self.retry_after_seconds = retry_after_seconds


class IssuerError(Exception):
    """The issuer's answer cannot be had or cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key, and the one algorithm it is used with (RFC 8725 §3.1)."""

    algorithm: str
    key: Key = field(repr=False)

    def verifies(self, signing_input: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` is this key's over ``signing_input``."""
        return _SIGNATURES.get_alg(self.algorithm).verify(signing_input, signature, self.key)


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How long keys are kept, in seconds; the settings of the bank explain each."""

    shortest: float = 30
    longest: float = 3600
    cooldown: float = 5
    outage: float = 3600
    timeout: float = 3


@dataclass(slots=True)
class IssuerKeys:
    """The keys of one issuer. Safe to share between threads: one fetches at a time.

    A known key is handed out at once. Keys past their time are fetched again by the request
    that notices; the others go on with the old ones meanwhile.
    """

    issuer: str
    metadata_url: str | None = None
    rules: CacheRules = field(default_factory=CacheRules)
    session: requests.Session = field(default_factory=requests.Session, repr=False)
    now: Callable[[], float] = time.monotonic
    _kept: "_KeptKeys | None" = field(default=None, init=False, repr=False)
    _no_fetch_before: float = field(default=-math.inf, init=False, repr=False)
    _fetching: Lock = field(default_factory=Lock, init=False, repr=False)

    def key(self, kid: str) -> IssuerKey:
        """Return the key ``kid``; fetch the keys where they are due or do not hold it.

        Raises UnknownKeyError where the issuer has no such key, KeysUnavailableError where it
        cannot be reached and nothing usable is kept.
        """
        kept = self._kept
        if kept is None or not kept.is_fresh_with(kid, self.now()):
            self._renew(kid)
            kept = self._kept
        now = self.now()
        if kept is None or now >= kept.fresh_until + self.rules.outage:
            raise KeysUnavailableError(max(1, math.ceil(self._no_fetch_before - now)))
        if kid not in kept.keys:
            raise UnknownKeyError(kid)
        return kept.keys[kid]

    def _renew(self, kid: str) -> None:
        """Fetch the keys, unless another thread does or did, or the cool-down is not over."""
        has_a_key = self._kept is not None and kid in self._kept.keys
        if not self._fetching.acquire(blocking=not has_a_key):
            return
        try:
            now, kept = self.now(), self._kept
            if now < self._no_fetch_before or (kept and kept.is_fresh_with(kid, now)):
                return
            self._kept = self._fetched()
            if kept and kept.is_fresh(now):  # for an unknown `kid`, which anybody can make up
                self._no_fetch_before = self.now() + self.rules.cooldown
        except IssuerError as error:
            log.warning("cannot fetch the keys of %s: %s", self.issuer, error)
            self._no_fetch_before = self.now() + self.rules.cooldown
        finally:
            self._fetching.release()

    def _fetched(self) -> "_KeptKeys":
        metadata, _ = self._get(self.metadata_url or self.issuer + METADATA_PATH)
        if metadata.get("issuer") != self.issuer:  # RFC 8414 §3.3: MUST be identical
            raise IssuerError("the metadata is of another issuer")
        document, max_age = self._get(self._checked_jwks_uri(metadata.get("jwks_uri")))
        keys = keys_of(document)
        lifetime = min(max(max_age, self.rules.shortest), self.rules.longest)
        log.info("fetched %d keys of %s, kept for %d s", len(keys), self.issuer, lifetime)
        return _KeptKeys(keys, fresh_until=self.now() + lifetime)

    def _checked_jwks_uri(self, uri: object) -> str:
        """Return ``uri`` if it is https; plain http is taken from an issuer that is plain http."""
        schemes = ("https://", "http://") if self.issuer.startswith("http://") else ("https://",)
        if not isinstance(uri, str) or not uri.startswith(schemes) or not uri.isascii():
            raise IssuerError("the metadata has no jwks_uri, or not one of a scheme that is taken")
        return uri

    def _get(self, url: str) -> tuple[dict[str, Any], float]:
        """Return the JSON object at ``url`` and for how many seconds it may be kept."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        deadline = self.now() + self.rules.timeout
        try:
            with self.session.get(
                url,
                headers=headers,
                timeout=self.rules.timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                if response.status_code != requests.codes.ok:
                    raise IssuerError(f"{url} answered {response.status_code}")
                document = json_object(self._body(response, deadline))
                return document, _max_age(response.headers.get("Cache-Control", ""))
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise IssuerError(f"{url}: {error}") from error

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        """Return the body: neither huge nor in drops, as the session's timeout is per read.

        It does not guard against header lines that come in drops.
        """
        body = b""
        while part := response.raw.read1(LARGEST_DOCUMENT_BYTES, decode_content=True):
            body += part
            if len(body) > LARGEST_DOCUMENT_BYTES:
                raise ValueError("the document is too large")
            if self.now() > deadline:
                raise ValueError("the document comes too slowly")
        return body


@dataclass(frozen=True, slots=True)
class _KeptKeys:
    keys: Mapping[str, IssuerKey]
    fresh_until: float

    def is_fresh(self, now: float) -> bool:
        return now < self.fresh_until

    def is_fresh_with(self, kid: str, now: float) -> bool:
        return kid in self.keys and self.is_fresh(now)


def keys_of(document: Mapping[str, Any]) -> dict[str, IssuerKey]:
    """Return the usable keys of a JWK Set (RFC 7517 §5) by their `kid`.

    A key that is not for us is passed over: of another type, curve or algorithm, for
    encryption, or without a `kid`. Where `alg` is missing it is RS256 for RSA, else what the
    curve says. Raises IssuerError for the whole document where any key has private members, two
    have one `kid`, one of ours is broken or weak, or none is usable.
    """
    members = document.get("keys")
    if not isinstance(members, list) or not all(isinstance(jwk, dict) for jwk in members):
        raise IssuerError("the document is no JWK Set")
    if any(_PRIVATE_MEMBERS & jwk.keys() for jwk in members):
        raise IssuerError("the JWK Set shows a private or secret key")
    kids = [jwk["kid"] for jwk in members if isinstance(jwk.get("kid"), str)]
    if len(kids) != len(set(kids)):
        raise IssuerError("the JWK Set has one kid twice")
    keys = {jwk["kid"]: _imported(jwk, algorithm) for jwk in members for algorithm in _for_us(jwk)}
    if not keys:
        raise IssuerError("the JWK Set has no usable key")
    return keys


def _for_us(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the one algorithm that ``jwk`` is used with; nothing where it is not for us."""
    kid, operations = jwk.get("kid"), jwk.get("key_ops", ["verify"])
    if not isinstance(kid, str) or not kid or jwk.get("use", "sig") != "sig":
        return ()
    if not isinstance(operations, list) or "verify" not in operations:
        return ()
    kty, crv = jwk.get("kty"), jwk.get("crv")
    possible = next(
        (names for of_type, names in _ALGORITHMS_OF_TYPE.items() if of_type == (kty, crv)), ()
    )
    algorithm = jwk.get("alg", possible[0] if possible else None)
    return (algorithm,) if algorithm in possible else ()


def _imported(jwk: Mapping[str, Any], algorithm: str) -> IssuerKey:
    """Return the key; only the members that make it up are looked at."""
    try:
        if jwk["kty"] == "RSA":
            _refuse_unsuitable_modulus(jwk["n"])
        elif jwk["kty"] == "OKP":
            _refuse_point_of_small_order(jwk["x"])
        key = import_key({name: jwk[name] for name in ("kty", *_PUBLIC_MEMBERS[jwk["kty"]])})
        _SIGNATURES.get_alg(algorithm).check_key(key)
    except (JoseError, KeyError, TypeError, ValueError) as error:
        raise IssuerError(f"the JWK Set has a broken key: {type(error).__name__}") from error
    return IssuerKey(algorithm, key)


def _refuse_unsuitable_modulus(n: object) -> None:
    if not isinstance(n, str):
        raise TypeError("a modulus that is no text")
    modulus = int.from_bytes(base64url_decoded(n), "big")
    bits = modulus.bit_length()
    if not RSA_SMALLEST_BITS <= bits <= RSA_LARGEST_BITS:
        raise ValueError(f"an RSA key of {bits} bits")
    if modulus % 2 == 0 or all(modulus % prime in _powers_of_65537(prime) for prime in ROCA_PRIMES):
        raise ValueError("an RSA key that can be factored")


def _powers_of_65537(prime: int) -> set[int]:
    return {pow(65537, exponent, prime) for exponent in range(prime)}


def _refuse_point_of_small_order(x: object) -> None:
    """Refuse the points of order 1, 2, 4 and 8, under which anybody can sign (RFC 8032 §5.1).

    Their y is 0 or ±1, or d·y⁴ + 2·y² = 1.
    """
    if not isinstance(x, str):
        raise TypeError("a point that is no text")
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p)
    y = int.from_bytes(base64url_decoded(x), "little") % 2**255  # the highest bit is a sign
    square = y * y
    if square * (square - 1) * (d * square**2 + 2 * square - 1) % p == 0:
        raise ValueError("an Ed25519 key of small order")


def _max_age(cache_control: str) -> float:
    if _NOT_TO_BE_KEPT.search(cache_control):
        return 0
    found = _MAX_AGE.search(cache_control)
    return int(found.group(1)) if found else DEFAULT_MAX_AGE_SECONDS


def base64url_decoded(text: str) -> bytes:
    """Return the octets of ``text``: base64url without padding, in its one canonical form.

    Python's own decoder passes over characters that it does not know and over stray bits at the
    end, so that one token could be spelt in many ways. Raises ValueError.
    """
    encoded = text.encode("ascii")
    decoded = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    if urlsafe_b64encode(decoded).rstrip(b"=") != encoded:
        raise ValueError("not base64url")
    return decoded


def json_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in ``data``, which is UTF-8 and names no member twice.

    Python's own parser takes UTF-16 and NaN, and of two members of one name the last; other
    parsers take the first, so that two parties would read two things (RFC 8725 §2.4, §3.7).
    Raises ValueError, for too deep a nesting too.
    """
    try:
        parsed = json.loads(
            data.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_constant
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")
    return parsed


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
