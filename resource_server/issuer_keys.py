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
import weakref
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from socket import SHUT_RDWR, socket
from threading import Lock, Semaphore, Thread, Timer
from typing import Any, Final

import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.errors import JoseError
from joserfc.jwk import import_key
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

log = logging.getLogger(__name__)

METADATA_PATH: Final = "/.well-known/openid-configuration"
LARGEST_DOCUMENT_BYTES: Final = 64 * 1024
DEFAULT_MAX_AGE_SECONDS: Final = 300
RENEW_AFTER: Final = 0.75
"""The share of the keys' time after which they are fetched anew: before the time is over."""
MOST_WAITING: Final = 2
"""How many requests with an unknown `kid` wait for a fetch at a time, ..."""
QUEUE_SECONDS: Final = 0.1
"""... and how long the others wait for a place."""
RSA_SMALLEST_BITS: Final = 2048  # RFC 7518 §3.3
RSA_LARGEST_BITS: Final = 8192  # a larger one only makes each check slow
# A generator in widely sold chips made keys that can be factored (ROCA, CVE-2017-15361): to each of
# these primes, the modulus is a power of 65537. Of other keys, one in 2**27 looks so by chance.
ROCA_PRIMES: Final = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)

_SHA256: Final = SHA256()
_ECDSA: Final = ec.ECDSA(_SHA256)
_PKCS1: Final = padding.PKCS1v15()
_PSS: Final = padding.PSS(padding.MGF1(_SHA256), SHA256.digest_size)  # the salt: RFC 7518 §3.5
_ALGORITHMS_OF_TYPE: Final = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("Ed25519",),
}
_PUBLIC_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MAX_AGE = re.compile(r'(?:^|[\s,])max-age="?(\d{1,10})', re.IGNORECASE)
_NOT_TO_BE_KEPT = re.compile(r"(?:^|[\s,])no-(?:store|cache)\b", re.IGNORECASE)
_AGE = re.compile(r"\d{1,10}", re.ASCII)
# To base64; its own `+`, `/` and `=`, which base64url has not, to what is in no alphabet.
_TO_BASE64: Final = bytes.maketrans(b"-_+/=", b"+/\0\0\0")


class UnknownKeyError(Exception):
    """The issuer publishes no key of this `kid`."""


class KeysUnavailableError(Exception):
    """There are no keys to judge with, as the issuer cannot be reached; try again later."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("the issuer's keys cannot be fetched")
        self.retry_after_seconds = retry_after_seconds


class IssuerError(Exception):
    """The issuer's answer cannot be had or cannot be used; the text says why."""


Verify = Callable[[bytes, bytes], None]
"""Takes a signature and what it is over; raises InvalidSignature."""


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key, and the one algorithm it is used with (RFC 8725 §3.1).

    Two are equal where they are the same key for the same algorithm, whenever they were fetched.
    """

    algorithm: str
    members: tuple[str, ...] = field(repr=False)
    """What makes the key up: the values of the JWK's public members."""
    _verify: Verify = field(repr=False, compare=False)

    def verifies(self, signing_input: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` is this key's over ``signing_input``."""
        try:
            self._verify(signature, signing_input)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How long keys are kept, in seconds; the settings of the bank explain each."""

    shortest: float = 30
    longest: float = 3600
    cooldown: float = 5
    outage: float = 3600
    timeout: float = 3


@dataclass(slots=True, weakref_slot=True)
class IssuerKeys:
    """The keys of one issuer. Safe to share between threads.

    They are fetched beside the requests, one fetch at a time, and again before their time is
    over. So whoever asks for a known key never waits; whoever asks for an unknown one, which
    anybody can make up, waits for the fetch that this causes, at most once in a cool-down.

    Its threads begin with the first key that is asked for, or with `fetch_early`: a process that
    forks does so before either.
    """

    issuer: str
    metadata_url: str | None = None
    rules: CacheRules = field(default_factory=CacheRules)
    session: requests.Session = field(default_factory=lambda: impatient_session(), repr=False)
    now: Callable[[], float] = time.monotonic
    _kept: "_KeptKeys | None" = field(default=None, init=False, repr=False)
    _no_fetch_before: float = field(default=-math.inf, init=False, repr=False)
    _is_away: bool = field(default=False, init=False, repr=False)
    _fetch: Thread | None = field(default=None, init=False, repr=False)
    _timer: Timer | None = field(default=None, init=False, repr=False)
    _starting: Lock = field(default_factory=Lock, init=False, repr=False)
    _places: Semaphore = field(
        default_factory=lambda: Semaphore(MOST_WAITING), init=False, repr=False
    )

    def key(self, kid: str) -> IssuerKey:
        """Return the key ``kid``.

        Raises UnknownKeyError where the issuer has no such key, KeysUnavailableError where it
        cannot be asked and no such key is kept.
        """
        kept, now = self._kept, self.now()
        if kept is None or kid not in kept.keys or now >= kept.usable_until:
            return self._key_after_a_fetch(kid, kept)
        if now >= kept.due_at:
            self._fetch_unless_renewed(since=kept)
        return kept.keys[kid]

    def fetch_early(self) -> None:
        """Begin to fetch the keys, so that the first request does not wait for them."""
        self._fetch_unless_renewed(since=None)

    def _key_after_a_fetch(self, kid: str, known: "_KeptKeys | None") -> IssuerKey:
        fetch = self._fetch_unless_renewed(since=known)
        if fetch is not None:
            self._wait_for(fetch)
        kept, now = self._kept, self.now()
        if kept is not None and now < kept.usable_until:
            if kid in kept.keys:
                return kept.keys[kid]
            if now < kept.fresh_until and not (self._is_away or (fetch and fetch.is_alive())):
                raise UnknownKeyError(kid)
        raise KeysUnavailableError(math.ceil(max(1.0, self._no_fetch_before - now)))

    def _fetch_unless_renewed(self, since: "_KeptKeys | None") -> Thread | None:
        """Return the fetch under way, or else a new one; None where none may begin now."""
        with self._starting:
            if self._fetch is not None and self._fetch.is_alive():
                return self._fetch
            if self._kept is not since or self.now() < self._no_fetch_before:
                return None
            self._fetch = Thread(target=self._renew, name="issuer-keys", daemon=True)
            self._fetch.start()
            return self._fetch

    def _wait_for(self, fetch: Thread) -> None:
        """Wait for ``fetch``, few at a time: made-up kids are not to hold up every thread."""
        kept = self._kept
        if kept is None or self.now() >= kept.usable_until:
            fetch.join(self.rules.timeout)  # there is no key, so nothing else could go on
        elif self._places.acquire(timeout=QUEUE_SECONDS):
            try:
                fetch.join(self.rules.timeout)
            finally:
                self._places.release()

    def _renew(self) -> None:
        """Fetch the keys; what is broken or hostile does not replace those that are kept."""
        known = self._kept
        try:
            fetched = self._fetched()
        except IssuerError as error:
            log.warning("cannot fetch the keys of %s: %s", self.issuer, error)
            self._is_away = True
            self._no_fetch_before = self.now() + self.rules.cooldown
            self._fetch_again_in(self.rules.cooldown)
            return
        self._is_away = False
        if known is not None and self.now() < known.due_at:  # it was for an unknown `kid`
            self._no_fetch_before = self.now() + self.rules.cooldown
        self._kept = fetched
        self._fetch_again_in(fetched.due_at - self.now())

    def _fetched(self) -> "_KeptKeys":
        issuer = Issuer(self.issuer, self.metadata_url, self.rules.timeout, self.session)
        document, max_age = issuer.document(issuer.address("jwks_uri"))
        keys = keys_of(document)
        lifetime = min(max(max_age, self.rules.shortest), self.rules.longest)
        log.info("fetched %d keys of %s, kept for %d s", len(keys), self.issuer, lifetime)
        return _KeptKeys.of(keys, self.now(), lifetime, self.rules.outage)

    def _fetch_again_in(self, seconds: float) -> None:
        """Let a timer begin the next fetch, so that it needs no request to notice.

        The timer does not keep this object alive. A moment is added, as at the very end of a
        cool-down none may begin yet.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._timer = Timer(seconds + 0.05, _fetch_if_alive, (weakref.ref(self), self._kept))
        self._timer.daemon = True
        self._timer.start()


def _fetch_if_alive(reference: "weakref.ref[IssuerKeys]", since: "_KeptKeys | None") -> None:
    keys = reference()
    if keys is not None:
        keys._fetch_unless_renewed(since)


@dataclass(frozen=True, slots=True)
class _KeptKeys:
    """Keys, and on the clock of their IssuerKeys when they are due for renewal and when stale."""

    keys: Mapping[str, IssuerKey]
    due_at: float
    fresh_until: float
    usable_until: float

    @classmethod
    def of(
        cls, keys: Mapping[str, IssuerKey], now: float, lifetime: float, outage: float
    ) -> "_KeptKeys":
        return cls(keys, now + RENEW_AFTER * lifetime, now + lifetime, now + lifetime + outage)


@dataclass(frozen=True, slots=True)
class Issuer:
    """The issuer as a server: what it answers, within bounds of size and time."""

    identifier: str
    metadata_url: str | None
    timeout: float
    """How long a connection may take, and as long again its answer, in seconds."""
    session: requests.Session = field(repr=False)

    def address(self, member: str) -> str:
        """Return the URL that the metadata has as ``member``, `jwks_uri` say.

        It is https; plain http is taken from an issuer that is plain http.
        """
        metadata, _ = self.document(self.metadata_url or self.identifier + METADATA_PATH)
        if metadata.get("issuer") != self.identifier:  # RFC 8414 §3.3: MUST be identical
            raise IssuerError("the metadata is of another issuer")
        is_plain = self.identifier.startswith("http://")
        schemes = ("https://", "http://") if is_plain else ("https://",)
        url = metadata.get(member)
        if not isinstance(url, str) or not url.startswith(schemes) or not url.isascii():
            raise IssuerError(f"the metadata has no {member}, or not one of a scheme that is taken")
        return url

    def document(self, url: str) -> tuple[dict[str, Any], float]:
        """Return the JSON object at ``url``, and for how many seconds it may be kept."""
        answer = self.exchange("GET", url)
        if answer.status != requests.codes.ok:
            raise IssuerError(f"{url} answered {answer.status}")
        try:
            return json_object(answer.body), _lifetime(answer.headers)
        except ValueError as error:
            raise IssuerError(f"{url}: {error}") from error

    def exchange(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None = None,
        auth: "Authorize | None" = None,
    ) -> "IssuerAnswer":
        """Return the answer, whatever its status; no redirect is followed.

        Raises IssuerError where none comes, or one that is too large or too slow.
        """
        deadline = time.monotonic() + self.timeout
        try:
            with self.session.request(
                method,
                url,
                data=form,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                auth=auth or _as_it_is,
                timeout=self.timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                body = _body(response, deadline)
                return IssuerAnswer(response.status_code, response.headers, body)
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise IssuerError(f"{url}: {error}") from error


Authorize = Callable[[requests.PreparedRequest], requests.PreparedRequest]


@dataclass(frozen=True, slots=True)
class IssuerAnswer:
    """What the issuer answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def impatient_session() -> requests.Session:
    """Return a session that gives up an answer in drops; no cookie is ever kept."""
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, ImpatientAdapter())
    return session


class ImpatientAdapter(HTTPAdapter):
    """Gives up an answer whose status and headers are not there within the timeout.

    The timeout of requests is for each read, so that a header line which comes a byte at a time
    would hold up its reader for hours.
    """

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        """Return the pool that requests would use, with connections that are impatient."""
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        assert isinstance(pool, HTTPConnectionPool)
        pool.ConnectionCls = _ImpatientTls if pool.scheme == "https" else _Impatient
        return pool


class _Impatient(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # so is urllib3's own
        """Return the answer up to its body; a watchdog ends the wait, whatever it waits for."""
        watchdog = Timer(self.timeout or 0, _end_the_wait, (self.sock,))
        watchdog.daemon = True
        watchdog.start()
        try:
            return super().getresponse()
        finally:
            watchdog.cancel()


class _ImpatientTls(_Impatient, HTTPSConnection):
    pass


def _end_the_wait(waiting: socket) -> None:
    with suppress(OSError):  # it ended by itself in this moment
        waiting.shutdown(SHUT_RDWR)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Return ``request`` unchanged: given as `auth`, it keeps requests from asking `~/.netrc`."""
    return request


def _body(response: requests.Response, deadline: float) -> bytes:
    """Return the body: neither huge nor in drops, and not unpacked, as we took no encoding."""
    body = b""
    while part := response.raw.read1(LARGEST_DOCUMENT_BYTES, decode_content=False):
        body += part
        if len(body) > LARGEST_DOCUMENT_BYTES:
            raise ValueError("the answer is too large")
        if time.monotonic() > deadline:
            raise ValueError("the answer comes too slowly")
    return body


def _lifetime(headers: Mapping[str, str]) -> float:
    """Return how long an answer is fresh (RFC 9111 §4.2): a cache may have had it for a while."""
    cache_control, age = headers.get("Cache-Control", ""), headers.get("Age", "")
    if _NOT_TO_BE_KEPT.search(cache_control):
        return 0
    found = _MAX_AGE.search(cache_control)
    max_age = int(found.group(1)) if found else DEFAULT_MAX_AGE_SECONDS
    return max_age - (int(age) if _AGE.fullmatch(age) else 0)


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
    except (JoseError, KeyError, TypeError, ValueError) as error:
        raise IssuerError(f"the JWK Set has a broken key: {type(error).__name__}") from error
    members = tuple(jwk[name] for name in _PUBLIC_MEMBERS[jwk["kty"]])
    return IssuerKey(algorithm, members, _verifier(key.public_key, algorithm))


def _verifier(key: Any, algorithm: str) -> Verify:
    """Return how ``key``, one of the type that ``algorithm`` is for, verifies.

    A library for JWS asks and makes more at each signature: 8 µs for ES256, 2 for RS256.
    """
    if isinstance(key, rsa.RSAPublicKey):
        pad = _PSS if algorithm == "PS256" else _PKCS1
        return lambda signature, signed: key.verify(signature, signed, pad, _SHA256)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return lambda signature, signed: key.verify(_der(signature), signed, _ECDSA)
    verify: Verify = key.verify  # Ed25519 leaves nothing to choose
    return verify


def _der(signature: bytes) -> bytes:
    """Return a signature of ES256, r and s of 32 octets each (RFC 7518 §3.4), as DER."""
    if len(signature) != 64:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    return encode_dss_signature(r, s)


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


def base64url_decoded(text: str) -> bytes:
    """Return the octets of ``text``: base64url without padding, in its one canonical form.

    Python's own decoder passes over characters that it does not know and over stray bits at the
    end, so that one token could be spelt in many ways. Raises ValueError.
    """
    encoded = text.encode("ascii").translate(_TO_BASE64) + b"=" * (-len(text) % 4)
    decoded = a2b_base64(encoded)
    if b2a_base64(decoded, newline=False) != encoded:
        raise ValueError("not base64url")
    return decoded


def json_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in ``data``, which is UTF-8 and names no member twice.

    Python's own parser takes UTF-16 and NaN, and of two members of one name the last; other
    parsers take the first, so that two parties would read two things (RFC 8725 §2.4, §3.7).
    Raises ValueError, for too deep a nesting too.
    """
    try:
        text = data.decode("utf-8").strip(" \t\r\n")
        parsed, end = _JSON.raw_decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(parsed, dict) or end != len(text):
        raise ValueError("not a JSON object, or more than one")
    return parsed


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant)
