import json
from typing import Any

import pytest

from auth_server.client_jwks import (
    ClientJwks,
    client_keys,
    fitting_key,
    inline_jwks,
    jwks_at,
    registered_keys,
)
from auth_server.jwk import SIGNATURES, UnsuitableKeyError
from tests.stack.issuer import base64url, signing_keys

KEYS = signing_keys()
RSA, EC, ED = (KEYS[kid].public_jwk() for kid in ("rsa", "ec", "ed"))


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


def number(value: int) -> str:
    return base64url(value.to_bytes((value.bit_length() + 7) // 8 or 1)).decode()


def rsa_jwk(n: int, e: int = 65537) -> dict[str, Any]:
    return {"kty": "RSA", "n": number(n), "e": number(e)}


def algorithms_of(jwk: dict[str, Any]) -> tuple[str, ...]:
    return client_keys({"keys": [jwk]})[0].algorithms


@pytest.mark.parametrize("kid", KEYS)
def test_a_key_is_pinned_to_its_alg(kid: str) -> None:
    assert algorithms_of(KEYS[kid].public_jwk()) == (KEYS[kid].algorithm,)


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [(RSA, ("RS256", "PS256")), (EC, ("ES256",)), (ED, ("Ed25519",))],
    ids=["RSA", "EC", "OKP"],
)
def test_without_an_alg_type_and_curve_say_what_a_key_is_for(
    jwk: dict[str, Any], algorithms: tuple[str, ...]
) -> None:
    assert algorithms_of(without(jwk, "alg")) == algorithms


def test_eddsa_is_the_old_name_of_ed25519() -> None:
    assert algorithms_of({**ED, "alg": "EdDSA"}) == ("Ed25519",)


@pytest.mark.parametrize(
    "other",
    [{**EC, "use": "enc"}, {**EC, "alg": "RS256"}, {**EC, "crv": "P-384"}, {**EC, "kty": "AKP"},
     {**RSA, "alg": "RSA-OAEP"}, {**EC, "key_ops": ["encrypt"]}, {**EC, "key_ops": "verify"},
     {**EC, "alg": ["ES256"]}, {**EC, "kty": {}}],
    ids=["use", "alg", "curve", "type", "encryption", "key_ops", "key_ops text", "alg list",
         "type object"],
)  # fmt: skip
def test_a_key_that_is_not_for_us_is_passed_over(other: dict[str, Any]) -> None:
    assert [key.kid for key in client_keys({"keys": [{**other, "kid": "other"}, EC]})] == ["ec"]


@pytest.mark.parametrize(
    "document",
    [{}, {"keys": None}, {"keys": {}}, {"keys": ["x"]}, {"keys": []}, {"keys": [{}]},
     {"keys": [dict(KEYS["ec"].pair.as_dict(private=True))]},
     {"keys": [dict(KEYS["rsa"].pair.as_dict(private=True))]},
     {"keys": [EC, {"kty": "oct", "k": "c2VjcmV0"}]},
     {"keys": [{**EC, "kid": 7}]}, {"keys": [{**EC, "kid": ""}]},
     {"keys": [{**EC, "kid": "x" * 300}]}, {"keys": [{**EC, "kid": "\ud800"}]},
     {"keys": [{**EC, "x": "AAAA"}]}, {"keys": [without(EC, "y")]}, {"keys": [{**EC, "x": 1}]},
     {"keys": [{**ED, "x": "AA"}]}, {"keys": [{**RSA, "n": 5}]}, {"keys": [{**RSA, "n": "!"}]},
     {"keys": [rsa_jwk(2**1024 + 1)]}, {"keys": [rsa_jwk(2**8193 + 1)]},
     {"keys": [rsa_jwk(2**2047 + 1, 1)]}, {"keys": [rsa_jwk(2**2047 + 1, 2)]},
     {"keys": [rsa_jwk(2**2047 + 1, 2**80 + 1)]}],
    ids=["empty", "null", "object", "text", "no key", "empty key", "private EC", "private RSA",
         "secret beside", "kid number", "kid empty", "kid long", "kid surrogate", "point", "no y",
         "x number", "Ed",
         "n number", "n no base64", "RSA short", "RSA long", "e one", "e even", "e long"],
)  # fmt: skip
def test_a_set_with_an_unsuitable_key_is_refused_as_a_whole(document: dict[str, Any]) -> None:
    with pytest.raises(UnsuitableKeyError):
        client_keys(document)


def test_a_refusal_shows_nothing_of_a_private_key() -> None:
    private = dict(KEYS["ec"].pair.as_dict(private=True))
    with pytest.raises(UnsuitableKeyError) as refused:
        inline_jwks(private)
    assert str(private["d"]) not in str(refused.value)


def test_what_is_stored_is_the_public_members_and_what_the_key_is_for() -> None:
    kept = inline_jwks({"keys": [{**EC, "x5c": ["MII"], "foo": 1, "key_ops": ["verify"]}]})
    assert json.loads(kept.jwks or "") == {"keys": [EC]}


def test_one_jwk_is_a_set_of_one() -> None:
    assert inline_jwks(ED) == inline_jwks({"keys": [ED]})


def test_stored_keys_are_read_as_they_were_given() -> None:
    rsa_without_alg = without(RSA, "alg", "kid")
    kept = inline_jwks({"keys": [rsa_without_alg, EC]})
    read = registered_keys(kept.jwks or "")
    assert [(key.kid, key.algorithms) for key in read] == [
        (None, ("RS256", "PS256")),
        ("ec", ("ES256",)),
    ]
    assert read[0].name == KEYS["rsa"].pair.thumbprint()


@pytest.mark.parametrize(
    "keys",
    [[EC, EC], [without(EC, "kid"), without(EC, "kid")],
     [without(RSA, "alg"), {**RSA, "alg": "PS256"}]],
    ids=["one kid", "no kid", "an algorithm of both"],
)  # fmt: skip
def test_keys_that_cannot_be_told_apart_are_refused(keys: list[dict[str, Any]]) -> None:
    with pytest.raises(UnsuitableKeyError, match="two keys"):
        inline_jwks({"keys": keys})


@pytest.mark.parametrize(
    ("members", "kid", "algorithm", "found"),
    [([RSA, EC], "ec", "ES256", "ec"), ([RSA, EC], None, "ES256", "ec"),
     ([RSA, EC], "rsa", "ES256", None), ([RSA, EC], "other", "ES256", None),
     ([RSA, EC], "rsa", "PS256", None), ([EC, {**EC, "kid": "2"}], None, "ES256", None),
     ([EC, {**EC, "kid": "2"}], "2", "ES256", "2"), ([EC, {**EC, "kid": "2"}], "3", "ES256", None)],
    ids=["kid", "the only one", "kid of another type", "unknown kid", "another algorithm",
         "more than one", "kid of two", "unknown kid of two"],
)  # fmt: skip
def test_a_key_is_found_by_its_kid_or_as_the_only_one_that_fits(
    members: list[dict[str, Any]], kid: str | None, algorithm: str, found: str | None
) -> None:
    key = fitting_key(client_keys({"keys": members}), kid, algorithm)
    assert (key.kid if key else None) == found


def test_a_key_without_a_kid_may_be_meant_by_any() -> None:
    unnamed = client_keys({"keys": [without(EC, "kid")]})
    assert fitting_key(unnamed, "some name", "ES256") is unnamed[0]


@pytest.mark.parametrize("uri", ["https://a.example/jwks", "https://a.example:8443/jwks?x=1"])
def test_a_jwks_uri_is_https(uri: str) -> None:
    assert jwks_at(uri, may_be_plain_http=False) == ClientJwks(jwks_uri=uri)


@pytest.mark.parametrize(
    "uri",
    ["http://a.example/jwks", "ftp://a.example", "file:///etc/passwd", "a.example/jwks", "",
     "https://", "https://user:pass@a.example/", "https://a.example/#x", "https://a.example/ x",
     "https://a.example/\x00", "https://é.example/", "https://[::1", "https://a.example:99999/",
     "https://a.example/" + "x" * 2048, "https://a.example/\r\nHost: b"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_https_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        jwks_at(uri, may_be_plain_http=False)


def test_plain_http_is_taken_where_it_may_be() -> None:
    uri = "http://127.0.0.1:8000/jwks"
    assert jwks_at(uri, may_be_plain_http=True).jwks_uri == uri


@pytest.mark.parametrize("kid", KEYS)
def test_a_key_verifies_what_its_private_part_signed_and_nothing_else(kid: str) -> None:
    signing = KEYS[kid]
    key = client_keys({"keys": [signing.public_jwk()]})[0]
    signature = SIGNATURES.get_alg(signing.algorithm).sign(b"message", signing.pair)
    verified = [key.verifies(signing.algorithm, text, signature) for text in (b"message", b"else")]
    assert verified == [True, False]
