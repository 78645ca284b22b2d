"""RFC 7518 and RFC 8037 at the resource server: a signature has one form, and the right key."""

import hashlib
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import (
    SHA1,
    SHA256,
    SHA384,
    SHA512,
    HashAlgorithm,
)

from tests.conformance.bank_requests import INVALID_TOKEN, named, read_with, verdict_on
from tests.conformance.jwt_reading import read_jwt
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer, base64url

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
OTHER_DIGESTS: list[HashAlgorithm] = [SHA1(), SHA384(), SHA512()]  # noqa: S303 - to be refused
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def resigned(token: str, signature: bytes) -> str:
    """Return ``token`` with another signature over the same octets."""
    return f"{token.rpartition('.')[0]}.{base64url(signature).decode()}"


def of_64_octets(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def r_and_s(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def rsa_key(issuer: OwnIssuer, kid: str) -> rsa.RSAPrivateKey:
    key = issuer.keys[kid].pair.private_key
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def ed25519_key(issuer: OwnIssuer) -> ed25519.Ed25519PrivateKey:
    key = issuer.keys["ed"].pair.private_key
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return key


# §3.4 ECDSA: r and s, 32 octets each


def ecdsa_forms(r: int, s: int) -> dict[str, bytes]:
    """Return what is no P-256 signature (r, s), though some verifier may take it for one."""
    good = of_64_octets(r, s)
    return {
        "DER": encode_dss_signature(r, s),
        "s first": of_64_octets(s, r),
        "r alone": good[:32],
        "one octet short": good[:-1],
        "one octet more": good + b"\0",
        "leading zeros": b"\0" + good,
        "33 octets each": r.to_bytes(33, "big") + s.to_bytes(33, "big"),
        "twice": good * 2,
        "in hexadecimal": good.hex().encode(),
        "r plus the order": (r + P256_ORDER).to_bytes(33, "big") + s.to_bytes(33, "big"),
        "s plus the order": r.to_bytes(33, "big") + (s + P256_ORDER).to_bytes(33, "big"),
        "n - r": of_64_octets(P256_ORDER - r, s),
        "both zero": of_64_octets(0, 0),
        "r zero": of_64_octets(0, s),
        "s zero": of_64_octets(r, 0),
        "both one": of_64_octets(1, 1),
        "r the order": of_64_octets(P256_ORDER, s),
        "s the order": of_64_octets(r, P256_ORDER),
        "zero and the order": of_64_octets(0, P256_ORDER),
        "both the order": of_64_octets(P256_ORDER, P256_ORDER),
        "all ones": b"\xff" * 64,
    }


@pytest.mark.parametrize("form", list(ecdsa_forms(1, 1)))
def test_rfc7518_3_4_an_ecdsa_signature_of_another_form_is_refused(
    bank: ResourceServerUnderTest, form: str
) -> None:
    token = bank.issuer.token("ec")
    r, s = r_and_s(read_jwt(token).signature)

    assert verdict_on(bank, resigned(token, ecdsa_forms(r, s)[form])) == INVALID_TOKEN


def test_rfc7518_3_4_the_second_signature_that_ecdsa_has_says_nothing_new(
    bank: ResourceServerUnderTest,
) -> None:
    token = bank.issuer.token("ec")
    r, s = r_and_s(read_jwt(token).signature)
    second = resigned(token, of_64_octets(r, P256_ORDER - s))

    # The RFC chooses neither of the two; both tokens have one jti, one client and one exp.
    assert [read_with(bank, each).status for each in (token, second)] == [200, 200]
    assert read_jwt(second).claims == read_jwt(token).claims


# §3.3, §3.5 RSA


@pytest.mark.parametrize("kid", ["rsa", "pss"])
@pytest.mark.parametrize(
    "form", ["one octet short", "leading zero", "plus the modulus", "zero", "one", "modulus - 1"]
)
def test_rfc7518_3_3_an_rsa_signature_of_another_form_is_refused(
    bank: ResourceServerUnderTest, form: str, kid: str
) -> None:
    token = bank.issuer.token(kid)
    signature = read_jwt(token).signature
    modulus = rsa_key(bank.issuer, kid).public_key().public_numbers().n
    plus_modulus = int.from_bytes(signature, "big") + modulus
    forms = {
        "one octet short": signature[:-1],
        "leading zero": b"\0" + signature,
        "plus the modulus": plus_modulus.to_bytes(257, "big").removeprefix(b"\0"),
        "zero": bytes(256),
        "one": (1).to_bytes(256, "big"),
        "modulus - 1": (modulus - 1).to_bytes(256, "big"),
    }

    assert verdict_on(bank, resigned(token, forms[form])) == INVALID_TOKEN


@pytest.mark.parametrize("digest", OTHER_DIGESTS, ids=lambda digest: digest.name)
def test_rfc7518_3_3_a_signature_over_another_digest_is_refused(
    bank: ResourceServerUnderTest, digest: HashAlgorithm
) -> None:
    token = bank.issuer.token("rsa")
    signature = rsa_key(bank.issuer, "rsa").sign(
        read_jwt(token).signing_input, padding.PKCS1v15(), digest
    )

    assert verdict_on(bank, resigned(token, signature)) == INVALID_TOKEN


@pytest.mark.parametrize("salt_octets", [0, 20, 31, 33, 222], ids=str)
def test_rfc7518_3_5_a_salt_of_another_size_than_the_digest_is_refused(
    bank: ResourceServerUnderTest, salt_octets: int
) -> None:
    token = bank.issuer.token("pss")
    scheme = padding.PSS(padding.MGF1(SHA256()), salt_octets)
    signature = rsa_key(bank.issuer, "pss").sign(read_jwt(token).signing_input, scheme, SHA256())

    assert verdict_on(bank, resigned(token, signature)) == INVALID_TOKEN


def test_rfc7518_3_5_a_mask_of_another_digest_is_refused(bank: ResourceServerUnderTest) -> None:
    token = bank.issuer.token("pss")
    scheme = padding.PSS(padding.MGF1(OTHER_DIGESTS[0]), 32)
    signature = rsa_key(bank.issuer, "pss").sign(read_jwt(token).signing_input, scheme, SHA256())

    assert verdict_on(bank, resigned(token, signature)) == INVALID_TOKEN


# RFC 8037 §3.1 Ed25519


@pytest.mark.parametrize(
    "form", ["s plus the order", "one octet short", "one octet more", "prehashed", "zeros", "ones"]
)
def test_rfc8037_3_1_an_ed25519_signature_of_another_form_is_refused(
    bank: ResourceServerUnderTest, form: str
) -> None:
    token = bank.issuer.token("ed")
    signature = read_jwt(token).signature
    s = int.from_bytes(signature[32:], "little")
    digest = hashlib.sha512(read_jwt(token).signing_input).digest()
    forms = {
        "s plus the order": signature[:32] + (s + ED25519_ORDER).to_bytes(32, "little"),
        "one octet short": signature[:-1],
        "one octet more": signature + b"\0",
        "prehashed": ed25519_key(bank.issuer).sign(digest),
        "zeros": bytes(64),
        "ones": b"\xff" * 64,
    }

    assert verdict_on(bank, resigned(token, forms[form])) == INVALID_TOKEN


# §3.1 Algorithms and keys of each family


@pytest.mark.parametrize("signer", ["rsa", "pss", "ec", "ed"])
@pytest.mark.parametrize("named_key", ["rsa", "pss", "ec", "ed"])
def test_rfc7518_3_1_a_signature_counts_under_the_name_of_its_own_key_alone(
    bank: ResourceServerUnderTest, signer: str, named_key: str
) -> None:
    algorithm = bank.issuer.keys[named_key].algorithm
    token = bank.issuer.token(signer, header={"kid": named_key, "alg": algorithm})

    expected = (200, None) if signer == named_key else INVALID_TOKEN
    assert verdict_on(bank, token) == expected


@pytest.mark.parametrize(
    "algorithm",
    ["ES256K", "EdDSA", "Ed448", "RSA1_5", "RSA-OAEP", "dir", "A256KW", "PBES2-HS256+A128KW"],
    ids=named,
)
@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
def test_rfc7518_3_1_an_algorithm_for_another_key_or_another_use_is_refused(
    bank: ResourceServerUnderTest, kid: str, algorithm: str
) -> None:
    assert verdict_on(bank, bank.issuer.token(kid, header={"alg": algorithm})) == INVALID_TOKEN


def test_rfc7518_3_2_a_mac_under_the_public_key_is_refused_in_each_of_its_forms(
    bank: ResourceServerUnderTest,
) -> None:
    key = bank.issuer.keys["rsa"]
    pem = key.public_pem()
    inner = b"".join(pem.splitlines()[1:-1])
    der = urlsafe_b64decode(inner.translate(bytes.maketrans(b"+/", b"-_")))
    modulus = key.public_jwk()["n"].encode()
    secrets = [pem, pem.strip(), pem.replace(b"\n", b"\r\n"), inner, der, modulus, b"\0", b"secret"]

    verdicts = {verdict_on(bank, bank.issuer.token_with_hs256(secret)) for secret in secrets}
    assert verdicts == {INVALID_TOKEN}
