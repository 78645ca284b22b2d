import gc
import json
import time
import weakref
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resource_server.issuer_keys import (
    LARGEST_DOCUMENT_BYTES,
    MOST_WAITING,
    RENEW_AFTER,
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
from tests.stack.loopback import LoopbackServer

RULES = CacheRules(shortest=30, longest=3600, cooldown=5, outage=600, timeout=2)


class FakeClock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def until(happens: Callable[[], bool]) -> None:
    """Wait for what a thread of the keys does; an assertion fails past the deadline."""
    deadline = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_unknown(keys: IssuerKeys, kid: str) -> bool:
    try:
        keys.key(kid)
    except UnknownKeyError:
        return True
    return False


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


def test_a_known_key_is_not_fetched_again_before_its_max_age_nears_its_end(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    keys.key("rsa")
    clock.time += 44
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
    clock.time += lifetime * RENEW_AFTER - 1
    keys.key("rsa")
    before = issuer.fetches[JWKS_PATH]
    clock.time += 1
    keys.key("rsa")
    until(lambda: issuer.fetches[JWKS_PATH] == 2)

    assert before == 1


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
    clock.time += 45

    until(lambda: is_unknown(keys, "rsa"))


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
    path: str,
    answer: Answer,
    keys: IssuerKeys,
    issuer: OwnIssuer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys.key("rsa")
    issuer.answers[path] = answer
    clock.time += 60
    keys.key("rsa")
    until(lambda: "cannot fetch" in caplog.text)

    assert keys.key("rsa").algorithm == "RS256"
    assert issuer.fetches[path] == 2


@pytest.mark.parametrize(
    "slow",
    [
        pytest.param(Answer(body=b"{}", wait_seconds=60), id="silent"),
        pytest.param(Answer(body=b"{" + b" " * 5000, seconds_between_bytes=0.02), id="in-drops"),
        pytest.param(Answer(seconds_between_header_bytes=0.02), id="header-line-in-drops"),
    ],
)
def test_a_slow_issuer_is_given_up_and_asked_again(slow: Answer, issuer: OwnIssuer) -> None:
    keys = IssuerKeys(issuer.url, rules=CacheRules(timeout=0.2, cooldown=0.1))
    issuer.answers["*"] = slow

    with pytest.raises(KeysUnavailableError):
        keys.key("rsa")
    until(lambda: issuer.fetches[METADATA_PATH] >= 2)
    issuer.answers.clear()
    until(lambda: issuer.fetches[JWKS_PATH] == 1)
    assert keys.key("rsa").algorithm == "RS256"


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


def test_while_keys_are_fetched_the_known_ones_are_handed_out(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    keys.key("rsa")
    issuer.answers["*"] = Answer(wait_seconds=60)
    clock.time += 60
    meanwhile = [keys.key("rsa").algorithm for _ in range(20)]
    until(lambda: issuer.fetches[METADATA_PATH] == 2)

    assert meanwhile == ["RS256"] * 20
    assert issuer.fetches == {METADATA_PATH: 2, JWKS_PATH: 1}


def test_keys_are_renewed_before_their_end_though_nobody_asks(issuer: OwnIssuer) -> None:
    keys = IssuerKeys(issuer.url, rules=CacheRules(shortest=0.2, longest=0.2))
    keys.key("rsa")

    until(lambda: issuer.fetches[JWKS_PATH] >= 3)


def test_a_failed_renewal_is_repeated_though_nobody_asks(issuer: OwnIssuer) -> None:
    keys = IssuerKeys(issuer.url, rules=CacheRules(cooldown=0.1))
    issuer.answers["*"] = Answer(status=500)
    keys.fetch_early()

    until(lambda: issuer.fetches[METADATA_PATH] >= 3)


def test_keys_that_were_fetched_early_are_not_fetched_by_the_first_request(
    keys: IssuerKeys, issuer: OwnIssuer
) -> None:
    keys.fetch_early()
    until(lambda: issuer.fetches[JWKS_PATH] == 1)

    assert keys.key("rsa").algorithm == "RS256"
    assert issuer.fetches[JWKS_PATH] == 1


def test_made_up_kids_hold_up_few_threads_while_the_issuer_is_slow(
    keys: IssuerKeys, issuer: OwnIssuer
) -> None:
    keys.key("rsa")
    issuer.answers["*"] = Answer(wait_seconds=60)
    told: list[Exception] = []

    def ask_for_a_made_up_key() -> None:
        with pytest.raises((KeysUnavailableError, UnknownKeyError)) as refusal:
            keys.key("made-up")
        told.append(refusal.value)

    threads = [Thread(target=ask_for_a_made_up_key) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: len(told) == 8 - MOST_WAITING)
    at_once, good = list(told), keys.key("rsa").algorithm
    issuer.stop()
    for thread in threads:
        thread.join()

    assert good == "RS256"
    assert {type(error) for error in at_once} == {KeysUnavailableError}


def test_of_a_key_that_stale_keys_do_not_hold_nobody_can_tell(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    keys.key("rsa")
    issuer.stop()
    clock.time += 60

    with pytest.raises(KeysUnavailableError):
        keys.key("new")


def test_of_a_key_that_fresh_keys_do_not_hold_nobody_can_tell_while_the_issuer_is_down(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    keys.key("rsa")
    issuer.stop()
    for _ in range(2):  # the second within the cool-down
        with pytest.raises(KeysUnavailableError):
            keys.key("new")
    still = keys.key("rsa").algorithm
    issuer.restart()
    clock.time += 5

    assert still == "RS256"
    assert is_unknown(keys, "made-up")


def test_the_time_that_a_cache_had_the_keys_is_taken_off(
    keys: IssuerKeys, issuer: OwnIssuer, clock: FakeClock
) -> None:
    issuer.jwks_headers = {"Cache-Control": "max-age=200", "Age": "100"}
    keys.key("rsa")
    clock.time += 75
    keys.key("rsa")

    until(lambda: issuer.fetches[JWKS_PATH] == 2)


def test_keys_that_nobody_holds_any_more_are_not_kept_alive_by_their_timer(
    issuer: OwnIssuer,
) -> None:
    keys = IssuerKeys(issuer.url, rules=RULES)
    keys.key("rsa")
    reference = weakref.ref(keys)
    del keys

    until(lambda: gc.collect() >= 0 and reference() is None)


def test_no_password_of_the_user_is_sent_to_the_issuer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine")
    monkeypatch.setenv("NETRC", str(netrc))
    with LoopbackServer() as server, pytest.raises(KeysUnavailableError):
        IssuerKeys(server.url, rules=RULES).key("rsa")

    assert [asked.headers.get("authorization") for asked in server.asked] == [None]


def test_a_key_is_the_same_whenever_it_was_fetched() -> None:
    first, second = keys_of({"keys": [jwk("ec")]}), keys_of({"keys": [jwk("ec")]})

    assert first["ec"] is not second["ec"]
    assert first["ec"] == second["ec"]


def test_keys_of_one_kid_that_differ_are_not_the_same(issuer: OwnIssuer) -> None:
    issuer.add_key("another")
    another = issuer.keys["another"].public_jwk(kid="ec")

    assert keys_of({"keys": [jwk("ec")]})["ec"] != keys_of({"keys": [another]})["ec"]


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


@given(st.binary(max_size=200))
def test_any_octets_survive_base64url(octets: bytes) -> None:
    assert base64url_decoded(base64url(octets).decode()) == octets


@given(st.text(st.sampled_from("AZaz09-_+/= \n\0\u00e9"), max_size=12))
def test_what_is_decoded_is_the_one_spelling_of_its_octets(text: str) -> None:
    try:
        octets = base64url_decoded(text)
    except ValueError:
        return
    assert base64url(octets).decode() == text


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
    )
)
def test_any_json_object_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    assert json_object(json.dumps(document, indent=1).encode()) == document


@given(st.binary(max_size=60))
def test_whatever_octets_are_read_there_is_an_object_or_a_value_error(octets: bytes) -> None:
    try:
        document = json_object(octets)
    except ValueError:
        return
    assert document == json.loads(octets)
