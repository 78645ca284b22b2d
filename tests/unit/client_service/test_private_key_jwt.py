import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey
from joserfc.jws import JWSRegistry

from client_service.private_key_jwt import ASSERTION_TYPE, private_key_jwt, signing_key
from client_service.token_messages import ClientCredentials
from tests.stack.issuer import signing_keys

ISSUER = "https://auth.example"
NOW = 1_800_000_000.7
REGISTRY = JWSRegistry(algorithms=["RS256", "PS256", "ES256", "Ed25519"])
KIDS = ["rsa", "pss", "ec", "ed"]


def private_jwk(name: str, **changes: Any) -> str:
    key = signing_keys()[name]
    members = {**key.pair.as_dict(private=True), "kid": name, "alg": key.algorithm, **changes}
    return json.dumps({name: value for name, value in members.items() if value is not None})


def assertion(jwk: str, now: float = NOW) -> str:
    proof = private_key_jwt(ISSUER, lambda: now)(ClientCredentials("signer", private_jwk=jwk))
    return proof.form["client_assertion"]


def header_of(text: str) -> dict[str, Any]:
    part = text.partition(".")[0]
    header: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return header


@pytest.mark.parametrize("kid", KIDS)
def test_the_assertion_is_signed_with_the_key_and_its_algorithm(kid: str) -> None:
    key = signing_keys()[kid]

    decoded = jwt.decode(assertion(private_jwk(kid)), key.pair, registry=REGISTRY)

    assert decoded.header == {
        "typ": "client-authentication+jwt",
        "alg": key.algorithm,
        "kid": kid,
    }


def test_the_claims_say_who_for_whom_and_for_how_long() -> None:
    claims = jwt.decode(assertion(private_jwk("ec")), signing_keys()["ec"].pair).claims

    assert claims.pop("jti")
    assert claims == {
        "iss": "signer",
        "sub": "signer",
        "aud": ISSUER,
        "iat": 1_800_000_000,
        "exp": 1_800_000_060,
    }


def test_each_assertion_is_another_one() -> None:
    jwk = private_jwk("ed")

    pair = signing_keys()["ed"].pair
    ids = {jwt.decode(assertion(jwk), pair, registry=REGISTRY).claims["jti"] for _ in range(20)}

    assert len(ids) == 20


def test_the_form_has_the_assertion_and_neither_id_nor_secret() -> None:
    proof = private_key_jwt(ISSUER)(ClientCredentials("signer", "s3cret", private_jwk("ec")))

    assert set(proof.form) == {"client_assertion_type", "client_assertion"}
    assert proof.form["client_assertion_type"] == ASSERTION_TYPE


@pytest.mark.parametrize(
    ("kid", "algorithm"), [("rsa", "RS256"), ("ec", "ES256"), ("ed", "Ed25519")], ids=str
)
def test_where_the_key_does_not_say_the_algorithm_follows_from_its_type(
    kid: str, algorithm: str
) -> None:
    assert header_of(assertion(private_jwk(kid, alg=None)))["alg"] == algorithm


def test_an_older_name_of_ed25519_is_understood() -> None:
    assert header_of(assertion(private_jwk("ed", alg="EdDSA")))["alg"] == "Ed25519"


def test_a_key_without_an_id_signs_without_one() -> None:
    assert "kid" not in header_of(assertion(private_jwk("ec", kid=None)))


NO_KEYS = {
    "nothing": "",
    "no JSON": "-----BEGIN PRIVATE KEY-----",
    "a list": "[]",
    "a secret key": json.dumps(OctKey.generate_key(256).as_dict(private=True)),
    "another curve": '{"kty": "EC", "crv": "P-384"}',
    "half a key": '{"kty": "RSA", "n": "AQAB"}',
    "odd type": '{"kty": []}',
    "nested": "[" * 100_000,
}


@pytest.mark.parametrize("name", NO_KEYS)
def test_what_is_no_key_is_refused_without_being_repeated(name: str) -> None:
    with pytest.raises(ValueError, match=r"^it is no JWK of type") as caught:
        signing_key(NO_KEYS[name])

    assert caught.value.__cause__ is None


def test_a_public_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^it is no"):
        signing_key(json.dumps(signing_keys()["ec"].public_jwk()))


@pytest.mark.parametrize(
    "changes",
    [{"use": "enc"}, {"key_ops": ["verify"]}, {"kid": 5}],
    ids=["for encryption", "for verification", "an id that is no text"],
)
def test_a_key_that_is_for_something_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^it is no"):
        signing_key(private_jwk("ec", **changes))


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS512", "ES256"])
def test_an_rsa_key_for_another_algorithm_is_refused(algorithm: str) -> None:
    with pytest.raises(ValueError, match="its `alg` is another"):
        signing_key(private_jwk("rsa", alg=algorithm))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kty", "crv", "alg", "kid", "x", "y", "d", "n", "e"]),
            inner,
            max_size=6,
        )
    ),
)
KEYS = st.fixed_dictionaries(
    {"kty": st.sampled_from(["RSA", "EC", "OKP"])},
    optional=dict.fromkeys(("crv", "alg", "kid", "x", "y", "d", "n", "e"), JSON),
)


@given(KEYS | JSON)
def test_no_document_but_a_key_gets_through(document: Any) -> None:
    with pytest.raises(ValueError, match=r"^it is no"):
        signing_key(json.dumps(document))
