import json
import string
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from flask import Flask
from flask.typing import ResponseReturnValue
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from resource_server import token_validation
from resource_server.introspection import TokenIntrospection
from resource_server.issuer_keys import (
    Issuer,
    IssuerKey,
    KeysUnavailableError,
    UnknownKeyError,
    impatient_session,
    keys_of,
)
from resource_server.token_validation import (
    LATEST_TIME,
    LONGEST_TOKEN,
    BearerError,
    CannotJudgeError,
    InsufficientScopeError,
    InvalidTokenError,
    MalformedRequestError,
    NoTokenError,
    RememberedTokens,
    TokenCheck,
    TokenValidator,
    Validator,
    bearer_token,
    check_tokens,
    refuse_malformed,
    require_token,
    verified_token,
)
from tests.stack.issuer import ABSENT, OwnIssuer, base64url

RESOURCE = "http://localhost:9001"
ISSUER = "https://issuer.example"
NOW = 1_800_000_000
B64TOKEN = {*string.ascii_letters, *string.digits, *"-._~+/="}


class PublishedKeys:
    """The keys of an issuer without its server; counts how often it is asked."""

    def __init__(self, issuer: OwnIssuer) -> None:
        self.issuer = issuer
        self.asked = 0

    def key(self, kid: str) -> IssuerKey:
        self.asked += 1
        published = keys_of(self.issuer.jwks())
        if kid not in published:
            raise UnknownKeyError(kid)
        return published[kid]


class NoKeys:
    """What stands for an issuer that cannot be reached."""

    def key(self, kid: str) -> IssuerKey:
        raise KeysUnavailableError(7) from UnknownKeyError(kid)


class CountingKeys(PublishedKeys):
    """The keys of an issuer, which count how many signatures they verify."""

    verified = 0

    def key(self, kid: str) -> IssuerKey:
        key = super().key(kid)

        def verify(signature: bytes, signing_input: bytes) -> None:
            self.verified += 1
            if not key.verifies(signing_input, signature):
                raise InvalidSignature

        return IssuerKey(key.algorithm, key.members, verify)


@pytest.fixture
def issuer(issuer: OwnIssuer) -> OwnIssuer:
    issuer.url = ISSUER
    return issuer


@pytest.fixture
def keys(issuer: OwnIssuer) -> PublishedKeys:
    return PublishedKeys(issuer)


@pytest.fixture
def validator(keys: PublishedKeys) -> TokenValidator:
    return TokenValidator(ISSUER, RESOURCE, keys, now=lambda: NOW)


def times(**changes: Any) -> dict[str, Any]:
    return {"iat": NOW, "exp": NOW + 300, **changes}


def header_and_claims(issuer: OwnIssuer) -> tuple[bytes, bytes]:
    claims = {**issuer.claims(), **times()}
    return json.dumps(issuer.header()).encode(), json.dumps(claims).encode()


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
def test_a_good_token_is_told_as_what_it_says(
    kid: str, validator: TokenValidator, issuer: OwnIssuer
) -> None:
    claims = times(jti="one", sub="somebody", scope="Read Write")
    token = validator.validate(issuer.token(kid, claims=claims))

    assert (token.client_id, token.subject, token.token_id) == ("own-client", "somebody", "one")
    assert (token.scopes, token.issued_at, token.expires_at) == (
        frozenset({"Read", "Write"}),
        NOW,
        NOW + 300,
    )


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        pytest.param({"typ": "AT+JWT"}, {}, id="type-in-capitals"),
        pytest.param({"typ": "application/at+jwt"}, {}, id="type-in-full"),
        pytest.param({"x-unknown": {"a": 1}, "b64": False}, {}, id="unknown-header"),
        pytest.param({"jku": "http://evil.example", "x5u": 5, "jwk": 5}, {}, id="ignored-headers"),
        pytest.param({}, {"aud": ["http://other.example", RESOURCE]}, id="one-of-the-audiences"),
        pytest.param({}, {"x-unknown": {"a": [1]}}, id="unknown-claim"),
        pytest.param({}, {"exp": NOW + 0.5}, id="time-with-a-fraction"),
        pytest.param({}, {"exp": NOW - 4}, id="expired-within-the-leeway"),
        pytest.param({}, {"iat": NOW + 5}, id="issued-within-the-leeway"),
        pytest.param({}, {"nbf": NOW + 5}, id="valid-within-the-leeway"),
        pytest.param({}, {"scope": ABSENT}, id="no-scope"),
    ],
)
def test_what_the_rfcs_allow_is_taken(
    header: dict[str, Any],
    claims: dict[str, Any],
    validator: TokenValidator,
    issuer: OwnIssuer,
) -> None:
    token = issuer.token(header=header, claims=times(**claims))

    assert validator.validate(token).client_id == "own-client"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        pytest.param({"typ": "JWT"}, "id_token", id="typ-jwt"),
        pytest.param({"typ": "application/jwt"}, "id_token", id="typ-jwt-in-full"),
        pytest.param({"typ": ABSENT}, "typ must be", id="no-typ"),
        pytest.param({"typ": "at+jwt\u0000"}, "typ must be", id="typ-with-nul"),
        pytest.param({"typ": ["at+jwt"]}, "typ must be", id="typ-that-is-a-list"),
        pytest.param({"typ": "dpop+jwt"}, "typ must be", id="another-type"),
        pytest.param({"alg": "none"}, "algorithm", id="alg-none"),
        pytest.param({"alg": "None"}, "algorithm", id="alg-none-in-another-case"),
        pytest.param({"alg": "HS256"}, "algorithm", id="alg-hs256"),
        pytest.param({"alg": "RS512"}, "algorithm", id="alg-not-on-the-list"),
        pytest.param({"alg": "rs256"}, "algorithm", id="alg-in-lower-case"),
        pytest.param({"alg": ABSENT}, "algorithm", id="no-alg"),
        pytest.param({"alg": ["RS256"]}, "algorithm", id="alg-that-is-a-list"),
        pytest.param({"alg": {"RS256": 1}}, "algorithm", id="alg-that-is-an-object"),
        pytest.param({"crit": ["exp"]}, "critical", id="crit"),
        pytest.param({"crit": []}, "critical", id="empty-crit"),
        pytest.param({"crit": 5}, "critical", id="crit-that-is-a-number"),
        pytest.param({"crit": None}, "critical", id="crit-that-is-null"),
        pytest.param({"b64": False, "crit": ["b64"]}, "critical", id="unencoded-payload"),
        pytest.param({"kid": ABSENT}, "kid is", id="no-kid"),
        pytest.param({"kid": ""}, "kid is", id="empty-kid"),
        pytest.param({"kid": 5}, "kid is", id="kid-that-is-a-number"),
        pytest.param({"kid": ["rsa"]}, "kid is", id="kid-that-is-a-list"),
        pytest.param({"kid": "k" * 257}, "kid is", id="long-kid"),
        pytest.param({"kid": "../../dev/null"}, "no key", id="kid-that-is-a-path"),
        pytest.param({"kid": "' OR 1=1 --"}, "no key", id="kid-that-is-sql"),
        pytest.param({"kid": "rsa\u0000"}, "no key", id="kid-with-nul"),
        pytest.param({"kid": "\ud800"}, "no key", id="kid-that-is-a-lone-surrogate"),
        pytest.param({"kid": "pss"}, "another algorithm", id="key-of-another-algorithm"),
        pytest.param({"kid": "ec"}, "another algorithm", id="key-of-another-family"),
        pytest.param({"alg": "PS256"}, "another algorithm", id="rsa-key-used-for-pss"),
        pytest.param({"alg": "ES256"}, "another algorithm", id="rsa-key-used-for-ecdsa"),
    ],
)
def test_a_bad_header_is_refused(
    header: dict[str, Any], reason: str, validator: TokenValidator, issuer: OwnIssuer
) -> None:
    with pytest.raises(InvalidTokenError, match=reason):
        validator.validate(issuer.token(header=header, claims=times()))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        pytest.param({"iss": ABSENT}, "issuer", id="no-iss"),
        pytest.param({"iss": ISSUER + "/"}, "issuer", id="iss-with-a-slash"),
        pytest.param({"iss": ISSUER.upper()}, "issuer", id="iss-in-capitals"),
        pytest.param({"iss": "https://\u0456ssuer.example"}, "issuer", id="iss-that-looks-alike"),
        pytest.param({"iss": [ISSUER]}, "issuer", id="iss-that-is-a-list"),
        pytest.param({"aud": ABSENT}, "aud is", id="no-aud"),
        pytest.param({"aud": 5}, "aud is", id="aud-that-is-a-number"),
        pytest.param({"aud": {RESOURCE: 1}}, "aud is", id="aud-that-is-an-object"),
        pytest.param({"aud": [RESOURCE, 5]}, "aud is", id="aud-with-a-number"),
        pytest.param({"aud": []}, "another API", id="empty-aud"),
        pytest.param({"aud": "http://other.example"}, "another API", id="another-audience"),
        pytest.param({"aud": RESOURCE + "/"}, "another API", id="aud-with-a-slash"),
        pytest.param({"aud": f"x {RESOURCE}"}, "another API", id="aud-that-contains-ours-as-text"),
        pytest.param({"exp": ABSENT}, "exp is", id="no-exp"),
        pytest.param({"exp": NOW - 5}, "expired", id="expired"),
        pytest.param({"exp": str(NOW + 300)}, "exp is", id="exp-that-is-a-string"),
        pytest.param({"exp": True}, "exp is", id="exp-that-is-true"),
        pytest.param({"exp": None}, "exp is", id="exp-that-is-null"),
        pytest.param({"exp": [NOW]}, "exp is", id="exp-that-is-a-list"),
        pytest.param({"exp": 10**400}, "exp is", id="exp-beyond-any-float"),
        pytest.param({"exp": LATEST_TIME + 1}, "exp is", id="exp-beyond-the-year-9999"),
        pytest.param({"exp": -1}, "exp is", id="negative-exp"),
        pytest.param({"iat": ABSENT}, "iat is", id="no-iat"),
        pytest.param({"iat": NOW + 6}, "in the future", id="issued-in-the-future"),
        pytest.param({"iat": False}, "iat is", id="iat-that-is-false"),
        pytest.param({"nbf": NOW + 6}, "not valid yet", id="not-valid-yet"),
        pytest.param({"nbf": "now"}, "nbf is", id="nbf-that-is-a-string"),
        pytest.param({"nbf": None}, "nbf is", id="nbf-that-is-null"),
        pytest.param({"sub": ABSENT}, "sub is", id="no-sub"),
        pytest.param({"sub": ""}, "sub is", id="empty-sub"),
        pytest.param({"client_id": ABSENT}, "client_id is", id="no-client-id"),
        pytest.param({"client_id": 5}, "client_id is", id="client-id-that-is-a-number"),
        pytest.param({"client_id": "a\u0000"}, "client_id is", id="client-id-with-nul"),
        pytest.param({"client_id": "\ud800"}, "client_id is", id="client-id-with-a-surrogate"),
        pytest.param({"jti": ABSENT}, "jti is", id="no-jti"),
        pytest.param({"jti": ["a"]}, "jti is", id="jti-that-is-a-list"),
        pytest.param({"scope": ["Read"]}, "scope is", id="scope-that-is-a-list"),
        pytest.param({"scope": None}, "scope is", id="scope-that-is-null"),
    ],
)
def test_bad_claims_are_refused_before_any_key_is_looked_up(
    claims: dict[str, Any],
    reason: str,
    validator: TokenValidator,
    issuer: OwnIssuer,
    keys: PublishedKeys,
) -> None:
    with pytest.raises(InvalidTokenError, match=reason):
        validator.validate(issuer.token(claims=times(**claims)))
    assert keys.asked == 0


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1", "9" * 5000, "0x7fffffff"]
)
def test_a_time_that_is_no_sane_number_is_refused(
    number: str, validator: TokenValidator, issuer: OwnIssuer
) -> None:
    header, claims = header_and_claims(issuer)
    token = issuer.signed(header, claims.replace(str(NOW + 300).encode(), number.encode()))

    with pytest.raises(InvalidTokenError, match=r"well-formed|exp is"):
        validator.validate(token)


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"\0" * 64, id="zero"),
        pytest.param(b"\0" * 256, id="long-zero"),
        pytest.param(b"\xff" * 64, id="beyond-the-order"),
        pytest.param(b"\x30\x06\x02\x01\x01\x02\x01\x01", id="der"),
        pytest.param(b"x" * 1024, id="long"),
    ],
)
def test_a_made_up_signature_is_refused(
    signature: bytes, kid: str, validator: TokenValidator, issuer: OwnIssuer
) -> None:
    with pytest.raises(InvalidTokenError, match="signature"):
        validator.validate(issuer.token(kid, claims=times(), signature=signature))


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
def test_another_issuers_key_of_the_same_kid_is_refused(
    kid: str, validator: TokenValidator, issuer: OwnIssuer
) -> None:
    published = dict(issuer.keys)
    issuer.add_key("forged", like=kid)
    forged = issuer.token("forged", header={"kid": kid}, claims=times())
    issuer.keys, issuer.published = published, list(published)

    with pytest.raises(InvalidTokenError, match="signature"):
        validator.validate(forged)


def test_an_embedded_key_is_not_used(validator: TokenValidator, issuer: OwnIssuer) -> None:
    issuer.add_key("mine")
    issuer.published.remove("mine")
    header = {"jwk": issuer.keys["mine"].public_jwk(kid="ec"), "kid": "ec"}

    with pytest.raises(InvalidTokenError, match="signature"):
        validator.validate(issuer.token("mine", header=header, claims=times()))


@pytest.mark.parametrize("kid", ["rsa", "ec"])
def test_hs256_with_the_public_key_is_refused(
    kid: str, validator: TokenValidator, issuer: OwnIssuer
) -> None:
    token = issuer.token_with_hs256(issuer.keys[kid].public_pem(), kid)

    with pytest.raises(InvalidTokenError, match="algorithm"):
        validator.validate(token)


@pytest.mark.parametrize("segment", [0, 1, 2], ids=["header", "claims", "signature"])
def test_a_token_with_one_changed_segment_is_refused(
    segment: int, validator: TokenValidator, issuer: OwnIssuer
) -> None:
    one = issuer.token(header={"x": 1}, claims=times(jti="one")).split(".")
    two = issuer.token(header={"x": 2}, claims=times(jti="two")).split(".")
    one[segment] = two[segment]

    with pytest.raises(InvalidTokenError, match="signature"):
        validator.validate(".".join(one))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda token: token[:-1], id="one-character-short"),
        pytest.param(lambda token: token + "A", id="one-character-long"),
        pytest.param(lambda token: token + "==", id="padded"),
        pytest.param(lambda token: token.rpartition(".")[0], id="no-signature-segment"),
        pytest.param(lambda token: token.rpartition(".")[0] + ".", id="empty-signature"),
        pytest.param(lambda token: token + ".", id="a-segment-too-many"),
        pytest.param(lambda token: token + ".a.b", id="five-segments-as-a-jwe"),
        pytest.param(lambda token: "." + token.partition(".")[2], id="empty-header"),
        pytest.param(lambda token: token.replace(".", "..", 1), id="empty-claims"),
        pytest.param(lambda token: token.replace("-", "+").replace("_", "/") + "+", id="base64"),
        pytest.param(lambda token: token[:60] + "~" + token[60:], id="a-character-let-in"),
        pytest.param(lambda token: token * 20, id="far-too-long"),
        pytest.param(lambda _: "opaque", id="no-jwt"),
        pytest.param(lambda _: "..", id="dots"),
        pytest.param(lambda _: "." * LONGEST_TOKEN, id="all-dots"),
    ],
)
def test_a_mutilated_token_is_refused(
    spoil: Callable[[str], str], validator: TokenValidator, issuer: OwnIssuer
) -> None:
    with pytest.raises(InvalidTokenError):
        validator.validate(spoil(issuer.token(claims=times())))


@pytest.mark.parametrize("text", ["", "é", "a b", "a,b", "\ud800"], ids=ascii)
def test_what_can_be_no_token_is_a_malformed_request(text: str, validator: TokenValidator) -> None:
    with pytest.raises(MalformedRequestError):
        validator.validate(text)


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        pytest.param(b'{"alg":"none",', b"{", id="member-twice-in-the-header"),
        pytest.param(b"{", b'{"iss":"https://evil.example",', id="member-twice-in-the-claims"),
        pytest.param(b'{"x":NaN,', b"{", id="nan-in-the-header"),
        pytest.param(b"{", b'{"x":"\xff",', id="no-utf-8"),
        pytest.param(b"{", b'{"x":"\xed\xa0\x80",', id="surrogate-in-utf-8"),
        pytest.param(b"{", b"[" * 4000, id="deep-claims"),
        pytest.param(b'{"x":' * 700, b"{", id="deep-header"),
        pytest.param(b"\xef\xbb\xbf{", b"{", id="byte-order-mark"),
        pytest.param(b"[{", b"{", id="header-in-a-list"),
        pytest.param(b"{", b"1{", id="claims-that-are-no-object"),
    ],
)
def test_json_that_is_odd_is_refused_though_well_signed(
    header: bytes, claims: bytes, validator: TokenValidator, issuer: OwnIssuer
) -> None:
    good_header, good_claims = header_and_claims(issuer)
    token = issuer.signed(
        good_header.replace(b"{", header, 1), good_claims.replace(b"{", claims, 1)
    )

    with pytest.raises(InvalidTokenError, match="well-formed"):
        validator.validate(token)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_claims_in_another_encoding_than_utf_8_are_refused(
    encoding: str, validator: TokenValidator, issuer: OwnIssuer
) -> None:
    header, claims = header_and_claims(issuer)

    with pytest.raises(InvalidTokenError, match="well-formed"):
        validator.validate(issuer.signed(header, claims.decode().encode(encoding)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = ["typ", "alg", "kid", "crit", "b64", "jwk"]
CLAIMS = ["iss", "aud", "exp", "iat", "nbf", "sub", "client_id", "jti", "scope"]


@hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200
)
@given(
    header=st.dictionaries(st.sampled_from(NAMES), json_values, max_size=2),
    claims=st.dictionaries(st.sampled_from(CLAIMS), json_values, max_size=2),
)
def test_whatever_a_token_holds_it_is_taken_or_refused(
    validator: TokenValidator,
    issuer: OwnIssuer,
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
) -> None:
    token = issuer.token("ed", header=header, claims=times(**claims))
    try:
        outcome = validator.validate(token).client_id
    except BearerError as refusal:
        outcome = refusal.description

    assert outcome


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_token_with_one_changed_character_is_refused(
    validator: TokenValidator, issuer: OwnIssuer, data: st.DataObject
) -> None:
    token = issuer.token("ed", claims=times())
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters().filter(lambda drawn: drawn != token[place]))

    refusals = (InvalidTokenError, MalformedRequestError)  # by whether it can be one still
    with pytest.raises(refusals):
        validator.validate(token[:place] + character + token[place + 1 :])


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.binary(max_size=40), min_size=3, max_size=3))
def test_arbitrary_octets_are_refused(validator: TokenValidator, parts: list[bytes]) -> None:
    token = b".".join(base64url(part) for part in parts).decode()

    with pytest.raises(InvalidTokenError):
        validator.validate(token)


def test_a_token_of_the_longest_size_is_judged(
    validator: TokenValidator, issuer: OwnIssuer
) -> None:
    short = len(issuer.token(claims=times(x="")))
    token = issuer.token(claims=times(x="x" * ((LONGEST_TOKEN - short) * 3 // 4 - 3)))

    assert LONGEST_TOKEN - 16 < len(token) <= LONGEST_TOKEN
    assert validator.validate(token).client_id == "own-client"


def test_an_algorithm_that_a_setting_leaves_out_is_refused(
    keys: PublishedKeys, issuer: OwnIssuer
) -> None:
    validator = TokenValidator(ISSUER, RESOURCE, keys, algorithms=("ES256",), now=lambda: NOW)

    with pytest.raises(InvalidTokenError, match="algorithm"):
        validator.validate(issuer.token("rsa", claims=times()))
    assert validator.validate(issuer.token("ec", claims=times())).client_id == "own-client"


def test_a_header_that_one_validator_takes_is_judged_by_the_algorithms_of_another(
    keys: PublishedKeys, validator: TokenValidator, issuer: OwnIssuer
) -> None:
    strict = TokenValidator(ISSUER, RESOURCE, keys, algorithms=("ES256",), now=lambda: NOW)
    token = issuer.token("rsa", claims=times())

    assert validator.validate(token).client_id == "own-client"
    with pytest.raises(InvalidTokenError, match="algorithm"):
        strict.validate(token)


def test_a_refused_header_is_refused_for_the_same_reason_each_time(
    validator: TokenValidator, issuer: OwnIssuer
) -> None:
    token = issuer.token(header={"crit": ["exp"]}, claims=times())

    for _ in range(2):
        with pytest.raises(InvalidTokenError, match="critical extensions"):
            validator.validate(token)


def test_a_header_is_judged_before_the_claims_are_read(
    validator: TokenValidator, issuer: OwnIssuer
) -> None:
    header, _ = header_and_claims(issuer)
    token = issuer.signed(header.replace(b"at+jwt", b"JWT"), b"no JSON")

    with pytest.raises(InvalidTokenError, match="typ is JWT"):
        validator.validate(token)


def test_without_keys_nothing_is_judged(issuer: OwnIssuer) -> None:
    validator = TokenValidator(ISSUER, RESOURCE, NoKeys(), now=lambda: NOW)

    with pytest.raises(CannotJudgeError) as refusal:
        validator.validate(issuer.token(claims=times()))
    assert refusal.value.retry_after_seconds == 7


def test_a_description_holds_only_the_characters_of_rfc_6750() -> None:
    assert InvalidTokenError('a"b\\c\nd\u00e9').description == "a?b?c?d?"


class TestRememberedTokens:
    """What comes again is looked at again where something may have changed, and only there."""

    @pytest.fixture
    def keys(self, issuer: OwnIssuer) -> CountingKeys:
        return CountingKeys(issuer)

    def test_a_token_that_comes_again_is_not_verified_again(
        self, validator: TokenValidator, keys: CountingKeys, issuer: OwnIssuer
    ) -> None:
        token = issuer.token(claims=times())
        said = [validator.validate(token) for _ in range(3)]

        assert (keys.verified, keys.asked) == (1, 3)
        assert said[1:] == said[:1] * 2

    def test_the_form_of_a_token_that_comes_again_is_not_judged_again(
        self,
        validator: TokenValidator,
        keys: CountingKeys,
        issuer: OwnIssuer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        judged: list[str] = []
        monkeypatch.setattr(token_validation, "refuse_malformed", judged.append)
        token, other = (issuer.token(claims=times(jti=name)) for name in ("one", "two"))
        said = [validator.validate(one).token_id for one in (token, token, other, token)]

        assert said == ["one", "one", "two", "one"]
        assert (judged, keys.verified) == ([token, other], 2)

    def test_another_token_is_verified(
        self, validator: TokenValidator, keys: CountingKeys, issuer: OwnIssuer
    ) -> None:
        for name in ("one", "two"):
            validator.validate(issuer.token(claims=times(jti=name)))

        assert keys.verified == 2

    def test_a_token_whose_signature_was_changed_is_not_taken_for_the_one_it_was(
        self, validator: TokenValidator, issuer: OwnIssuer
    ) -> None:
        token = issuer.token(claims=times())
        validator.validate(token)

        with pytest.raises(InvalidTokenError, match="signature"):
            validator.validate(issuer.token(claims=times(), signature=b"x" * 256))

    @pytest.mark.parametrize(
        ("last", "claims", "later", "reason"),
        [
            pytest.param(304, {}, 305, "expired", id="expired"),
            pytest.param(-5, {}, -6, "in the future", id="early"),
            pytest.param(-2, {"nbf": NOW + 3}, -3, "not valid yet", id="not-before"),
        ],
    )
    def test_its_times_are_looked_at_again(
        self,
        last: int,
        claims: dict[str, Any],
        later: int,
        reason: str,
        keys: CountingKeys,
        issuer: OwnIssuer,
    ) -> None:
        now = [float(NOW)]
        validator = TokenValidator(ISSUER, RESOURCE, keys, now=lambda: now[0])
        token = issuer.token(claims=times(**claims))
        validator.validate(token)
        now[0] = NOW + last
        validator.validate(token)
        assert keys.verified == 1
        now[0] = NOW + later

        with pytest.raises(InvalidTokenError, match=reason):
            validator.validate(token)

    def test_it_ends_with_the_key_that_signed_it(
        self, validator: TokenValidator, issuer: OwnIssuer
    ) -> None:
        token = issuer.token(claims=times())
        validator.validate(token)
        issuer.published.remove("rsa")

        with pytest.raises(InvalidTokenError, match="no key"):
            validator.validate(token)

    def test_it_ends_when_its_kid_becomes_that_of_another_key(
        self, validator: TokenValidator, issuer: OwnIssuer
    ) -> None:
        token = issuer.token("ec", claims=times())
        validator.validate(token)
        issuer.published.remove("ec")
        issuer.add_key("ec")

        with pytest.raises(InvalidTokenError, match="signature"):
            validator.validate(token)

    def test_without_the_issuers_keys_it_is_not_taken(
        self, validator: TokenValidator, issuer: OwnIssuer
    ) -> None:
        token = issuer.token(claims=times())
        validator.validate(token)
        later = TokenValidator(
            ISSUER, RESOURCE, NoKeys(), now=lambda: NOW, remembered=validator.remembered
        )

        with pytest.raises(CannotJudgeError):
            later.validate(token)

    def test_its_scope_is_judged_each_time(
        self, validator: TokenValidator, issuer: OwnIssuer
    ) -> None:
        check = TokenCheck(validator, "test")
        header = f"Bearer {issuer.token(claims=times(scope='Read'))}"
        check.admit(header, "Read")

        with pytest.raises(InsufficientScopeError):
            check.admit(header, "Write")

    @pytest.mark.parametrize("bound", [0, 3])
    def test_no_more_are_remembered_than_the_bound(
        self, bound: int, keys: CountingKeys, issuer: OwnIssuer
    ) -> None:
        remembered = RememberedTokens(bound)
        validator = TokenValidator(ISSUER, RESOURCE, keys, now=lambda: NOW, remembered=remembered)
        tokens = [issuer.token("ed", claims=times()) for _ in range(5)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(validator.validate, tokens * 4))

        assert len(remembered) == bound

    def test_the_newest_are_remembered(self, keys: CountingKeys, issuer: OwnIssuer) -> None:
        validator = TokenValidator(
            ISSUER, RESOURCE, keys, now=lambda: NOW, remembered=RememberedTokens(1)
        )
        tokens = [issuer.token(claims=times()) for _ in range(2)]
        for token in (*tokens, tokens[1], tokens[0]):
            validator.validate(token)

        assert keys.verified == 3

    def test_a_refused_token_is_not_remembered(
        self, validator: TokenValidator, issuer: OwnIssuer
    ) -> None:
        with pytest.raises(InvalidTokenError):
            validator.validate(issuer.token(claims=times(), signature=b"x" * 256))

        assert len(validator.remembered) == 0

    def test_no_token_is_held(self, validator: TokenValidator, issuer: OwnIssuer) -> None:
        token = issuer.token(claims=times())
        validator.validate(token)
        held = repr(vars(validator.remembered))

        assert [part for part in token.split(".") if part in held] == []
        assert "own-client" in held


def token_in(authorization: str | None) -> str:
    token = bearer_token(authorization)
    refuse_malformed(token)
    return token


@pytest.mark.parametrize(
    "header", ["Bearer abc", "bearer abc", "BEARER abc", "Bearer   abc"], ids=repr
)
def test_the_scheme_is_known_in_any_case(header: str) -> None:
    assert token_in(header) == "abc"


@pytest.mark.parametrize("token", ["a.b-c_d~e+f/g==", "a="], ids=repr)
def test_the_characters_of_b64token_are_taken(token: str) -> None:
    assert token_in(f"Bearer {token}") == token


@pytest.mark.parametrize("header", [None, "", "  ", "Basic YTpi", "Bearerabc", "Token a"], ids=repr)
def test_a_request_without_a_bearer_token_has_no_token(header: str | None) -> None:
    with pytest.raises(NoTokenError):
        token_in(header)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer\tabc",
        "Bearer a b",
        "Bearer a,Bearer b",
        "Basic YTpi, bearer a",
        "Bearer a\n",
        'Bearer "a"',
        "Bearer =a",
        "Bearer \u00ff",
    ],
    ids=repr,
)
def test_a_malformed_header_is_an_invalid_request(header: str) -> None:
    with pytest.raises(MalformedRequestError):
        token_in(header)


@given(
    scheme=st.sampled_from(["Bearer", "bearer", "BEARER", "bEaReR"]),
    spaces=st.integers(1, 5),
    token=st.from_regex(r"[A-Za-z0-9._~+/-]+=*", fullmatch=True),
)
def test_any_token_is_found_in_its_header(scheme: str, spaces: int, token: str) -> None:
    assert token_in(scheme + " " * spaces + token) == token


@given(
    st.text(max_size=30)
    | st.text(st.sampled_from("bearer BEARER,=\t\n.é"), max_size=30)
    | st.text(max_size=20).map("Bearer {}".format)
)
def test_whatever_the_header_holds_there_is_a_token_in_it_or_a_refusal(header: str) -> None:
    try:
        token = token_in(header)
    except (NoTokenError, MalformedRequestError):
        return
    assert header.lower().startswith("bearer ")
    assert header.endswith(f" {token}")
    assert set(token) <= B64TOKEN


def never() -> ResponseReturnValue:
    raise AssertionError("the view was reached")


@pytest.fixture
def ask(validator: TokenValidator) -> Callable[..., TestResponse]:
    """Ask a bare application with one protected view: `ask(token)`."""
    app = Flask("bare")
    check_tokens(app, validator, realm="test")

    @app.route("/", methods=["GET", "POST"])
    @require_token(scope="Read")
    def hello() -> ResponseReturnValue:
        return {"client": verified_token().client_id}

    def ask(token: str | None = None, **request: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return app.test_client().open("/", headers=headers, **request)

    return ask


def test_a_good_token_opens_the_view(ask: Callable[..., TestResponse], issuer: OwnIssuer) -> None:
    answer = ask(issuer.token(claims=times()))

    assert (answer.status_code, answer.json) == (200, {"client": "own-client"})


def test_a_request_without_a_token_gets_a_bare_challenge(ask: Callable[..., TestResponse]) -> None:
    answer = ask()

    assert answer.status_code == 401
    assert answer.headers.getlist("WWW-Authenticate") == ['Bearer realm="test"']


@pytest.mark.parametrize(
    "request_parts",
    [
        pytest.param({"query_string": "access_token=TOKEN"}, id="query"),
        pytest.param({"method": "POST", "data": {"access_token": "TOKEN"}}, id="body"),
    ],
)
def test_a_token_in_query_or_body_is_ignored(
    request_parts: dict[str, Any], ask: Callable[..., TestResponse], issuer: OwnIssuer
) -> None:
    token = issuer.token(claims=times())
    filled = json.loads(json.dumps(request_parts).replace("TOKEN", token))

    assert ask(**filled).headers["WWW-Authenticate"] == 'Bearer realm="test"'
    assert ask(token, **filled).status_code == 200


def test_a_malformed_header_is_answered_400(ask: Callable[..., TestResponse]) -> None:
    answer = ask("a b")

    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["WWW-Authenticate"]


@pytest.fixture(params=["keys", "introspection"])
def either(
    request: pytest.FixtureRequest, validator: TokenValidator, issuer: OwnIssuer
) -> Validator:
    """One that judges by the issuer's keys, and one that asks the issuer."""
    if request.param == "keys":
        return validator
    asked = Issuer(f"http://127.0.0.1:{issuer.port}", None, 2, impatient_session())
    return TokenIntrospection(asked, RESOURCE, "bank", "secret")


NOT_ONE = "the Authorization header is not Bearer and one token"
TOO_LONG = f"the token is longer than {LONGEST_TOKEN} characters"
SEVERAL = "more than one Authorization header"


@pytest.mark.parametrize(
    ("headers", "status", "error", "description"),
    [
        pytest.param(["Bearer"], 400, "invalid_request", NOT_ONE, id="no-space"),
        pytest.param(["Bearer\ta"], 400, "invalid_request", NOT_ONE, id="tab-for-the-space"),
        pytest.param(["Bearer "], 400, "invalid_request", NOT_ONE, id="empty"),
        pytest.param(["Bearer =="], 400, "invalid_request", NOT_ONE, id="padding"),
        pytest.param(["Bearer a b"], 400, "invalid_request", NOT_ONE, id="space"),
        pytest.param(["Bearer a\tb"], 400, "invalid_request", NOT_ONE, id="tab"),
        pytest.param(["Bearer a,b"], 400, "invalid_request", NOT_ONE, id="comma"),
        pytest.param(["Bearer a=b"], 400, "invalid_request", NOT_ONE, id="padding-within"),
        pytest.param(["Bearer \u00e9"], 400, "invalid_request", NOT_ONE, id="beyond-ascii"),
        pytest.param(["Bearer a", "Bearer b"], 400, "invalid_request", SEVERAL, id="two-headers"),
        pytest.param(["Bearer a,bearer b"], 400, "invalid_request", SEVERAL, id="joined"),
        pytest.param(["Basic YTpi", "Bearer a"], 400, "invalid_request", SEVERAL, id="basic-too"),
        pytest.param(
            ["Bearer " + "a" * (LONGEST_TOKEN + 1)], 401, "invalid_token", TOO_LONG, id="too-long"
        ),
    ],
)
def test_what_can_be_no_token_is_refused_whoever_judges_and_nobody_is_asked(
    headers: list[str],
    status: int,
    error: str,
    description: str,
    either: Validator,
    issuer: OwnIssuer,
) -> None:
    app = Flask("bare")
    check_tokens(app, either, realm="test")
    app.add_url_rule("/", view_func=require_token(scope="Read")(never))
    answer = app.test_client().get("/", headers=[("Authorization", one) for one in headers])

    assert answer.status_code == status
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer realm="test", error="{error}", error_description="{description}"'
    )
    assert issuer.fetches == {}


def test_the_id_token_is_refused_with_what_to_send_instead(
    ask: Callable[..., TestResponse], issuer: OwnIssuer
) -> None:
    answer = ask(issuer.id_token())

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer realm="test", error="invalid_token", error_description="this is not an access '
        "token but an id_token or some other JWT (typ is JWT): send the access_token of the "
        'token response, whose typ is at+jwt"'
    )


def test_a_missing_scope_is_answered_403_with_the_scope(
    ask: Callable[..., TestResponse], issuer: OwnIssuer
) -> None:
    answer = ask(issuer.token(claims=times(scope="Write Reading read")))

    assert answer.status_code == 403
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer realm="test", error="insufficient_scope", '
        'error_description="the token has no scope Read", scope="Read"'
    )


def test_a_refusal_is_a_problem_document_that_no_cache_keeps(
    ask: Callable[..., TestResponse],
) -> None:
    answer = ask("opaque")

    assert answer.mimetype == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_json(force=True) == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "the token is no signed JWT",
    }


def test_without_keys_the_answer_is_503_and_no_challenge(issuer: OwnIssuer) -> None:
    app = Flask("bare")
    check_tokens(app, TokenValidator(ISSUER, RESOURCE, NoKeys()), realm="test")
    app.add_url_rule("/", view_func=require_token(scope="Read")(never))
    now = int(time.time())
    token = issuer.token(claims={"iat": now, "exp": now + 60})

    answer = app.test_client().get("/", headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize(
    ("token", "status", "error", "description"),
    [
        pytest.param(None, 401, "token_missing", "this needs an access token", id="no-token"),
        pytest.param("a b", 400, "invalid_request", "not Bearer and one token", id="malformed"),
        pytest.param("opaque", 401, "invalid_token", "no signed JWT", id="invalid"),
    ],
)
def test_a_refusal_is_recorded_once(
    token: str | None,
    status: int,
    error: str,
    description: str,
    ask: Callable[..., TestResponse],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "shared.arrows")
    ask(token, query_string="access_token=in-the-query")

    events = [record.event for record in caplog.records if record.name == "shared.arrows"]  # type: ignore[attr-defined]
    assert [(event["outcome"], event["status"], event["error"]) for event in events] == [
        ("refused", status, error)
    ]
    assert description in events[0]["parameters"]["error_description"]
    assert events[0]["url"] == "http://localhost/"


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        pytest.param(
            {"iss": "https://staging.example"},
            {"iss": "'https://staging.example'"},
            id="of-another-environment",
        ),
        pytest.param(
            {"iss": "https://\u0456ssuer\n"}, {"iss": r"'https://\u0456ssuer\n'"}, id="iss"
        ),
        pytest.param({"iss": [[[[1]]]]}, {"iss": "list"}, id="iss-that-is-a-list"),
        pytest.param({"aud": ["a", "b"]}, {"aud": "['a', 'b']"}, id="aud"),
        pytest.param({"exp": 5}, {"exp": "5"}, id="exp"),
    ],
)
def test_the_log_says_what_the_refused_token_said(
    claims: dict[str, Any],
    said: dict[str, str],
    ask: Callable[..., TestResponse],
    issuer: OwnIssuer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "shared.arrows")
    answer = ask(issuer.token(claims=times(**claims)))

    [event] = [record.event for record in caplog.records if record.name == "shared.arrows"]  # type: ignore[attr-defined]
    parameters = dict(event["parameters"])
    assert parameters.pop("error_description") == answer.get_json(force=True)["detail"]
    assert parameters == said


def test_every_challenge_names_the_metadata_where_there_is_one(
    validator: TokenValidator, issuer: OwnIssuer
) -> None:
    app = Flask("bare")
    check_tokens(app, validator, "test", lambda: "https://bank.example/metadata")
    app.add_url_rule("/", view_func=require_token(scope="Other")(never))
    tokens = ["", "opaque", issuer.token(claims=times())]
    answers = [
        app.test_client().get("/", headers={"Authorization": f"Bearer {token}"}) for token in tokens
    ]

    assert [answer.status_code for answer in answers] == [400, 401, 403]
    assert {
        answer.headers["WWW-Authenticate"].partition(", resource_metadata=")[2]
        for answer in answers
    } == {'"https://bank.example/metadata"'}


def test_a_view_says_which_scope_it_requires() -> None:
    view = require_token(scope="Read")(never)

    assert view.required_scope == "Read"  # type: ignore[attr-defined]


def test_insufficient_scope_names_the_scope() -> None:
    assert InsufficientScopeError("Read").scope == "Read"
