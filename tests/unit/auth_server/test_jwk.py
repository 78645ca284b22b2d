from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey

from auth_server.jwk import (
    ALGORITHMS,
    SIGNATURES,
    UnsuitableKeyError,
    imported_private_key,
    new_private_key,
    private_jwk,
    public_jwk,
)
from auth_server.settings import SigningAlgorithm

PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


@pytest.fixture(scope="session")
def rsa() -> dict[str, Any]:
    return dict(RSAKey.generate_key(2048).as_dict(private=True))


def ec() -> dict[str, Any]:
    return dict(ECKey.generate_key("P-256").as_dict(private=True))


def okp() -> dict[str, Any]:
    return dict(OKPKey.generate_key("Ed25519").as_dict(private=True))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_key_signs_for_its_public_jwk(algorithm: SigningAlgorithm) -> None:
    key = new_private_key(algorithm)
    token = jws.serialize_compact({"alg": algorithm}, b"hello", key, registry=SIGNATURES)
    public = JWKRegistry.import_key(public_jwk(key, algorithm))
    assert jws.deserialize_compact(token, public, registry=SIGNATURES).payload == b"hello"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_public_jwk_has_use_alg_and_kid_and_no_private_member(
    algorithm: SigningAlgorithm,
) -> None:
    key = new_private_key(algorithm)
    public = public_jwk(key, algorithm)
    assert not PRIVATE_MEMBERS & public.keys()
    assert (public["use"], public["alg"], public["kid"]) == ("sig", algorithm, key.thumbprint())


def test_a_private_jwk_can_be_read_back() -> None:
    key = new_private_key("Ed25519")
    assert JWKRegistry.import_key(private_jwk(key, "Ed25519")).thumbprint() == key.thumbprint()


def test_an_rsa_key_without_an_algorithm_is_for_rs256(rsa: dict[str, Any]) -> None:
    assert imported_private_key(rsa)[0] == "RS256"


def test_an_rsa_key_may_name_ps256(rsa: dict[str, Any]) -> None:
    assert imported_private_key({**rsa, "alg": "PS256"})[0] == "PS256"


def test_a_curve_says_the_algorithm() -> None:
    assert (imported_private_key(ec())[0], imported_private_key(okp())[0]) == ("ES256", "Ed25519")


def test_other_members_of_an_imported_key_go_nowhere(rsa: dict[str, Any]) -> None:
    algorithm, key = imported_private_key({**rsa, "kid": "mine", "key_ops": ["sign"], "x": 1})
    assert {"key_ops", "x"} & public_jwk(key, algorithm).keys() == set()


def unsuitable() -> list[tuple[str, dict[str, Any]]]:
    pair, other = okp(), okp()
    return [
        ("empty", {}),
        ("unknown kty", {"kty": "AKP"}),
        ("kty is no text", {"kty": ["RSA"]}),
        ("members are no text", {"kty": "RSA", "n": 1, "e": 2}),
        ("members missing", {"kty": "RSA", "d": "AQAB"}),
        ("not base64", {**pair, "d": "\u00e9"}),
        ("symmetric", dict(OctKey.generate_key(256).as_dict(private=True))),
        ("public", dict(ECKey.generate_key("P-256").as_dict(private=False))),
        ("other curve", dict(ECKey.generate_key("P-384").as_dict(private=True))),
        ("for encryption", {**ec(), "use": "enc"}),
        ("other algorithm", {**ec(), "alg": "RS256"}),
        ("algorithm is no text", {**ec(), "alg": 5}),
        ("may not sign", {**ec(), "key_ops": ["verify"]}),
        ("halves of two pairs", {**pair, "x": other["x"]}),
    ]


@pytest.mark.parametrize("jwk", [jwk for _, jwk in unsuitable()], ids=[n for n, _ in unsuitable()])
def test_an_unsuitable_key_is_refused(jwk: dict[str, Any]) -> None:
    with pytest.raises(UnsuitableKeyError):
        imported_private_key(jwk)


@pytest.mark.filterwarnings("ignore:Key size")
def test_a_short_rsa_key_is_refused() -> None:
    short = dict(RSAKey.generate_key(1024).as_dict(private=True))
    with pytest.raises(UnsuitableKeyError, match="2048"):
        imported_private_key(short)
