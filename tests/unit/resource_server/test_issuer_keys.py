import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from threading import Event, Thread
from typing import Any

import pytest

from resource_server.issuer_keys import (
    LARGEST_DOCUMENT_BYTES,
    CacheRules,
    IssuerError,
    IssuerKeys,
    KeysUnavailableError,
    UnknownKeyError,
    base64url_decoded,
    json_object,
    keys_of,
)
from tests.stack.issuer import JWKS_PATH, METADATA_PATH, Answer, OwnIssuer, base64url, signing_keys

RULES = CacheRules(shortest=30, longest=3600, cooldown=5, outage=600, timeout=2)


class FakeClock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys(issuer: OwnIssuer, clock: FakeClock) -> IssuerKeys:
    return IssuerKeys(issuer.url, rules=RULES, now=clock)


def test_the_keys_are_found_through_the_issuers_metadata(
    keys: IssuerKeys, issuer: OwnIssuer
) -> None:
    algorithms = {kid: keys.key(kid).algorithm for kid in ("rsa", "pss", "ec", "ed")}

    assert algorithms == {"rsa": "RS256", "pss": "PS256", "ec": "ES256", "ed": "Ed25519"}
    assert issuer.fetches == {METADATA_PATH: 1, JWKS_PATH: 1}


def test_the_metadata_may_stand_elsewhere_than_below_the_issuer(issuer: OwnIssuer) -> None:
    issuer.metadata_changes = {"issuer": "http://outside.example"}
    keys = IssuerKeys("http://outside.example", issuer.url + METADATA_PATH, RULES)

    assert keys.key("rsa").algorithm == "RS256"


def test_a_known_key_is_not_fetched_again_within_its_max_age(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    keys.key("rsa")
    clock.time += 59
    keys.key("rsa")

    assert issuer.fetches[JWKS_PATH] == 1


@pytest.mark.parametrize(
    ("cache_control", "lifetime"),
    [
        pytest.param("max-age=120", 120, id="max-age"),
        pytest.param("public, Max-Age=120", 120, id="max-age-among-others"),
        pytest.param("max-age=1", 30, id="below-the-shortest"),
        pytest.param("max-age=9999999999", 3600, id="above-the-longest"),
        pytest.param("max-age=600, no-store", 30, id="no-store"),
        pytest.param("", 300, id="nothing-said"),
        pytest.param("max-age=soon", 300, id="nonsense"),
    ],
)
def test_keys_are_kept_as_long_as_the_issuer_says_within_bounds(
    cache_control: str, lifetime: int, keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    issuer.jwks_headers = {"Cache-Control": cache_control}
    keys.key("rsa")
    clock.time += lifetime - 1
    keys.key("rsa")
    before = issuer.fetches[JWKS_PATH]
    clock.time += 1
    keys.key("rsa")

    assert (before, issuer.fetches[JWKS_PATH]) == (1, 2)


def test_an_unknown_kid_is_fetched_at_once(keys: IssuerKeys, issuer: OwnIssuer) -> None:
    keys.key("rsa")
    issuer.add_key("new")

    assert keys.key("new").algorithm == "ES256"


def test_unknown_kids_are_fetched_no_more_often_than_the_cooldown(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    keys.key("rsa")
    for number in range(20):
        with pytest.raises(UnknownKeyError):
            keys.key(f"made-up-{number}")
    within = issuer.fetches[JWKS_PATH]
    clock.time += 5
    with pytest.raises(UnknownKeyError):
        keys.key("made-up")

    assert (within, issuer.fetches[JWKS_PATH]) == (2, 3)


def test_a_key_gone_from_a_fresh_jwk_set_is_no_longer_known(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    keys.key("rsa")
    issuer.published.remove("rsa")
    clock.time += 60

    with pytest.raises(UnknownKeyError):
        keys.key("rsa")


def test_while_the_issuer_is_down_old_keys_are_used_for_a_bounded_time(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    keys.key("rsa")
    issuer.stop()
    clock.time += 60 + 599
    still = keys.key("rsa").algorithm
    clock.time += 1

    assert still == "RS256"
    with pytest.raises(KeysUnavailableError):
        keys.key("rsa")


def test_a_failed_fetch_is_not_repeated_before_the_cooldown(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    issuer.answers["*"] = Answer(status=500)
    for _ in range(3):
        with pytest.raises(KeysUnavailableError) as refusal:
            keys.key("rsa")
    clock.time += 5
    issuer.answers.clear()

    assert issuer.fetches == {METADATA_PATH: 1}
    assert refusal.value.retry_after_seconds == 5
    assert keys.key("rsa").algorithm == "RS256"


def test_a_restarted_issuer_is_found_again(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    issuer.stop()
    with pytest.raises(KeysUnavailableError):
        keys.key("rsa")
    issuer.restart()
    clock.time += 5

    assert keys.key("rsa").algorithm == "RS256"


HUGE = b'{"keys": "' + b"x" * LARGEST_DOCUMENT_BYTES + b'"}'


@pytest.mark.parametrize("path", [METADATA_PATH, JWKS_PATH], ids=["metadata", "jwks"])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(status=500), id="error"),
        pytest.param(Answer(status=302, headers={"Location": JWKS_PATH}), id="redirect"),
        pytest.param(Answer(status=204), id="no-content"),
        pytest.param(Answer(body=b""), id="empty"),
        pytest.param(Answer(body=b"<html>"), id="no-json"),
        pytest.param(Answer(body=b"[]"), id="no-object"),
        pytest.param(Answer(body=b"{}"), id="empty-object"),
        pytest.param(Answer(body=b"\xff\xfe{\x00}\x00"), id="utf-16"),
        pytest.param(Answer(body=b'{"keys": [], "keys": []}'), id="a-member-twice"),
        pytest.param(Answer(body=b"[" * 60_000), id="deep"),
        pytest.param(Answer(body=HUGE), id="huge"),
        pytest.param(
            Answer(body=b"x", headers={"Content-Encoding": "gzip"}), id="no-gzip-that-says-so"
        ),
    ],
)
def test_a_broken_document_never_replaces_good_keys(
    path: str, answer: Answer, keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    keys.key("rsa")
    issuer.answers[path] = answer
    clock.time += 60

    assert keys.key("rsa").algorithm == "RS256"
    assert issuer.fetches[path] == 2


@pytest.mark.parametrize(
    "slow",
    [
        pytest.param(Answer(body=b"{}", wait_seconds=60), id="silent"),
        pytest.param(Answer(body=b"{" + b" " * 5000, seconds_between_bytes=0.02), id="in-drops"),
    ],
)
def test_a_slow_issuer_is_given_up(slow: Answer, issuer: OwnIssuer) -> None:
    keys = IssuerKeys(issuer.url, rules=CacheRules(timeout=0.2))
    issuer.answers["*"] = slow
    started = time.monotonic()

    with pytest.raises(KeysUnavailableError):
        keys.key("rsa")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"issuer": "http://127.0.0.1"}, id="another-issuer"),
        pytest.param({"issuer": None}, id="no-issuer"),
        pytest.param({"jwks_uri": None}, id="no-jwks-uri"),
        pytest.param({"jwks_uri": 5}, id="jwks-uri-that-is-a-number"),
        pytest.param({"jwks_uri": "file:///etc/passwd"}, id="jwks-uri-that-is-a-file"),
        pytest.param({"jwks_uri": "http://[::1"}, id="jwks-uri-that-is-malformed"),
        pytest.param({"jwks_uri": "http://\ud800/"}, id="jwks-uri-with-a-lone-surrogate"),
    ],
)
def test_metadata_that_is_wrong_is_not_used(
    changes: dict[str, Any], keys: IssuerKeys, issuer: OwnIssuer
) -> None:
    issuer.metadata_changes = changes

    with pytest.raises(KeysUnavailableError):
        keys.key("rsa")
    assert issuer.fetches[JWKS_PATH] == 0


def test_an_https_issuer_cannot_point_to_keys_over_plain_http(issuer: OwnIssuer) -> None:
    issuer.metadata_changes = {"issuer": "https://outside.example"}
    keys = IssuerKeys("https://outside.example", issuer.url + METADATA_PATH, RULES)

    with pytest.raises(KeysUnavailableError):
        keys.key("rsa")
    assert issuer.fetches[JWKS_PATH] == 0


def test_while_one_thread_fetches_the_others_use_the_old_keys(
    issuer: OwnIssuer, clock: FakeClock
) -> None:
    fetching, go_on = Event(), Event()

    class SlowKeys(IssuerKeys):
        __slots__ = ()

        def _get(self, url: str) -> tuple[dict[str, Any], float]:
            if clock.time > 1000:
                fetching.set()
                go_on.wait(10)
            return IssuerKeys._get(self, url)

    keys = SlowKeys(issuer.url, rules=RULES, now=clock)
    keys.key("rsa")
    clock.time += 60
    thread = Thread(target=keys.key, args=("rsa",))
    thread.start()
    fetching.wait(10)
    meanwhile = keys.key("rsa").algorithm
    fetched_meanwhile = issuer.fetches[JWKS_PATH]
    go_on.set()
    thread.join()

    assert (meanwhile, fetched_meanwhile, issuer.fetches[JWKS_PATH]) == ("RS256", 1, 2)


def test_threads_that_wait_for_the_first_keys_fetch_them_once(issuer: OwnIssuer) -> None:
    keys = IssuerKeys(issuer.url, rules=RULES)
    found: list[str] = []
    threads = [
        Thread(target=lambda: found.append(keys.key("rsa").algorithm), daemon=True)
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == ["RS256"] * 8
    assert issuer.fetches[JWKS_PATH] == 1


def test_a_key_shows_no_key_material_in_its_repr() -> None:
    key = keys_of({"keys": [signing_keys()["rsa"].public_jwk()]})["rsa"]

    assert repr(key) == "IssuerKey(algorithm='RS256')"


def jwk(kid: str = "rsa", /, **changes: Any) -> dict[str, Any]:
    return signing_keys()[kid].public_jwk(**changes)


def without(members: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in names}


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(jwk("rsa", d="AQAB"), id="with-a-private-exponent"),
        pytest.param(jwk("ec", d="AQAB"), id="with-a-private-scalar"),
        pytest.param({"kty": "oct", "k": "AQAB", "kid": "other"}, id="a-shared-secret"),
        pytest.param(jwk("ec", kid="good"), id="a-kid-twice"),
        pytest.param(jwk("rsa", n="AQAB"), id="tiny-rsa"),
        pytest.param(jwk("rsa", n=base64url(b"\xff" * 128).decode()), id="rsa-of-1024-bits"),
        pytest.param(jwk("rsa", n=base64url(b"\xff" * 1025).decode()), id="rsa-too-large"),
        pytest.param(jwk("rsa", n=5), id="modulus-that-is-a-number"),
        pytest.param(jwk("rsa", n="é"), id="modulus-beyond-ascii"),
        pytest.param(jwk("rsa", e="Ag"), id="even-exponent"),
        pytest.param(jwk("rsa", e=None), id="exponent-that-is-null"),
        pytest.param(without(jwk("rsa"), "n"), id="no-modulus"),
        pytest.param(jwk("ec", x="AAAA"), id="point-off-the-curve"),
        pytest.param(without(jwk("ec"), "y"), id="half-a-point"),
        pytest.param(jwk("ed", x="AAAA"), id="short-ed25519"),
        pytest.param("not an object", id="no-object"),
    ],
)
def test_a_hostile_key_spoils_its_whole_document(members: Any) -> None:
    with pytest.raises(IssuerError):
        keys_of({"keys": [jwk("ed", kid="good"), members]})


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(jwk("rsa", use="enc"), id="for-encryption"),
        pytest.param(jwk("rsa", key_ops=["encrypt"]), id="for-another-operation"),
        pytest.param(jwk("rsa", key_ops="verify"), id="operations-that-are-no-list"),
        pytest.param(jwk("rsa", alg="RS512"), id="of-another-algorithm"),
        pytest.param(jwk("rsa", alg="HS256"), id="rsa-for-hs256"),
        pytest.param(jwk("rsa", alg="ES256"), id="rsa-for-es256"),
        pytest.param(jwk("rsa", alg=["RS256"]), id="algorithm-that-is-a-list"),
        pytest.param(jwk("ec", crv="P-384"), id="of-another-curve"),
        pytest.param(jwk("ec", crv=["P-256"]), id="curve-that-is-a-list"),
        pytest.param(jwk("ed", crv="X25519"), id="for-key-agreement"),
        pytest.param(jwk("rsa", kty="AKP"), id="of-an-unknown-type"),
        pytest.param(jwk("rsa", kty={}), id="type-that-is-an-object"),
        pytest.param(without(jwk("rsa"), "kid"), id="without-kid"),
        pytest.param(jwk("rsa", kid=""), id="with-an-empty-kid"),
        pytest.param(jwk("rsa", kid=7), id="with-a-number-for-kid"),
    ],
)
def test_a_key_that_is_not_for_us_is_passed_over(members: Any) -> None:
    assert list(keys_of({"keys": [members, jwk("ed", kid="good")]})) == ["good"]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="no-keys"),
        pytest.param({"keys": {}}, id="keys-that-are-no-list"),
        pytest.param({"keys": []}, id="an-empty-list"),
        pytest.param({"keys": [jwk("rsa", use="enc")]}, id="none-for-us"),
    ],
)
def test_a_document_without_a_usable_key_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(IssuerError):
        keys_of(document)


@pytest.mark.parametrize(
    ("kid", "algorithm"), [("rsa", "RS256"), ("ec", "ES256"), ("ed", "Ed25519")], ids=str
)
def test_a_key_that_names_no_algorithm_has_one_all_the_same(kid: str, algorithm: str) -> None:
    assert keys_of({"keys": [without(jwk(kid), "alg")]})[kid].algorithm == algorithm


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("YQ==", id="padding"),
        pytest.param("YR", id="stray-bits-at-the-end"),
        pytest.param("Y Q", id="white-space"),
        pytest.param("YQ\n", id="newline"),
        pytest.param("+/+/", id="the-other-alphabet"),
        pytest.param("A", id="one-character"),
        pytest.param("é", id="beyond-ascii"),
    ],
)
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        base64url_decoded(text)


def test_base64url_is_decoded() -> None:
    assert base64url_decoded("_-8") == urlsafe_b64decode("_-8=")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"a": 1, "a": 1}', id="a-member-twice"),
        pytest.param(b'{"a": {"b": 1, "b": 1}}', id="a-member-twice-further-in"),
        pytest.param(b'{"a": NaN}', id="nan"),
        pytest.param(b'{"a": -Infinity}', id="infinity"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", id="a-number-of-5000-digits"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', id="byte-order-mark"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="utf-16"),
        pytest.param('{"a": 1}'.encode("utf-32-le"), id="utf-32"),
        pytest.param(b'{"a": "\xff"}', id="no-utf-8"),
        pytest.param(b'{"a": ' * 3000, id="deep"),
        pytest.param(b"null", id="no-object"),
    ],
)
def test_json_that_two_parsers_could_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        json_object(data)
