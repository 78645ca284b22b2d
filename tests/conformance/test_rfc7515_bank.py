"""RFC 7515, RFC 7516 and RFC 7797 at the resource server: a token has one spelling."""

import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwe
from joserfc.jwk import RSAKey

from tests.attacks.attacker import attacker_of
from tests.conformance.bank_requests import INVALID_TOKEN, named, read_with, verdict_on
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer, base64url

INVALID_REQUEST = (400, "invalid_request")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def octets(document: Any) -> bytes:
    return json.dumps(document).encode()


def with_header(issuer: OwnIssuer, header: bytes) -> str:
    return issuer.signed(header, octets(issuer.claims()), "ec")


# §2 base64url


@pytest.mark.parametrize("segment", [0, 1, 2], ids=["header", "claims", "signature"])
@pytest.mark.parametrize(
    "spelt",
    [
        lambda text: f"{text}=",
        lambda text: f"{text}==",
        lambda text: f"{text}A",
        lambda text: f"{text[:9]} {text[9:]}",
        lambda text: f"{text[:9]}\t{text[9:]}",
        lambda text: f"{text[:9]}%20{text[9:]}",
        lambda text: f"{text[:9]}*{text[9:]}",
        lambda text: f"{text[:9]}={text[9:]}",
        lambda text: f"{text[:9]}.{text[9:]}",
        lambda text: f"+{text[1:]}",
        lambda text: f"/{text[1:]}",
        lambda text: text[:-1],
        lambda text: text[: len(text) // 2],
        lambda text: text[:0],
    ],
    ids=[
        "padding",
        "more padding",
        "one character more",
        "space",
        "tab",
        "percent",
        "asterisk",
        "padding inside",
        "dot",
        "plus",
        "slash",
        "one character less",
        "half",
        "nothing",
    ],
)
def test_rfc7515_2_a_segment_that_is_spelt_otherwise_is_refused(
    bank: ResourceServerUnderTest, spelt: Callable[[str], str], segment: int
) -> None:
    parts = bank.issuer.token("ec").split(".")
    parts[segment] = spelt(parts[segment])

    assert verdict_on(bank, ".".join(parts)) in {INVALID_TOKEN, INVALID_REQUEST}


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
def test_rfc7515_2_bits_that_no_octet_needs_are_zero(
    bank: ResourceServerUnderTest, kid: str
) -> None:
    token = bank.issuer.token(kid)  # its signature has 256 or 64 octets: four bits are left over
    last = ALPHABET.index(token[-1])
    respelt = [token[:-1] + ALPHABET[last ^ bits] for bits in (1, 2, 4, 8, 15)]

    assert {verdict_on(bank, each) for each in respelt} == {INVALID_TOKEN}


# §3, §7 Serialisations


def json_serialised(token: str) -> str:
    protected, payload, signature = token.split(".")
    flat = {"protected": protected, "payload": payload, "signature": signature}
    return base64url(octets(flat)).decode()


@pytest.mark.parametrize(
    "serialised",
    [
        lambda token: f"{token}.",
        lambda token: f".{token}",
        lambda token: f"{token}.{token}",
        lambda token: f"{token}.e30",
        lambda token: token.replace(".", "..", 1),
        lambda token: token.rpartition(".")[0],
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token.partition(".")[2],
        lambda token: ".".join(reversed(token.split("."))),
        lambda token: "..".join(token.split(".")[::2]),
        json_serialised,
    ],
    ids=[
        "trailing dot",
        "leading dot",
        "two tokens",
        "fourth segment",
        "empty segment",
        "two segments",
        "no signature",
        "no header",
        "backwards",
        "detached payload",
        "JSON serialisation",
    ],
)
def test_rfc7515_7_1_what_has_not_three_segments_in_their_order_is_refused(
    bank: ResourceServerUnderTest, serialised: Callable[[str], str]
) -> None:
    assert verdict_on(bank, serialised(bank.issuer.token("ec"))) == INVALID_TOKEN


def test_rfc7516_7_1_a_token_encrypted_to_the_issuers_key_is_refused(
    bank: ResourceServerUnderTest,
) -> None:
    public = RSAKey.import_key(bank.issuer.keys["rsa"].public_pem())
    header = {"typ": "at+jwt", "kid": "rsa", "alg": "RSA-OAEP-256", "enc": "A128GCM"}
    registry = jwe.JWERegistry(algorithms=["RSA-OAEP-256", "A128GCM"])

    encrypted = jwe.encrypt_compact(header, octets(bank.issuer.claims()), public, registry=registry)

    assert encrypted.count(".") == 4
    assert verdict_on(bank, encrypted) == INVALID_TOKEN


def test_rfc7519_5_2_a_token_within_a_token_is_refused(bank: ResourceServerUnderTest) -> None:
    issuer = bank.issuer
    header = octets({**issuer.header("ec"), "cty": "JWT"})

    assert verdict_on(bank, issuer.signed(header, issuer.token().encode(), "ec")) == INVALID_TOKEN


def test_rfc7516_4_1_3_compressed_claims_are_refused(bank: ResourceServerUnderTest) -> None:
    deflate = zlib.compressobj(wbits=-15)
    compressed = deflate.compress(octets(bank.issuer.claims())) + deflate.flush()
    header = octets({**bank.issuer.header("ec"), "zip": "DEF"})

    assert verdict_on(bank, bank.issuer.signed(header, compressed, "ec")) == INVALID_TOKEN


def test_rfc7797_3_claims_that_are_not_encoded_are_refused(bank: ResourceServerUnderTest) -> None:
    issuer = bank.issuer
    header = base64url(octets({**issuer.header("ec"), "b64": False, "crit": ["b64"]})).decode()
    encoded, _, signature = issuer.token("ec").split(".")

    tokens = [f"{header}.{{}}.{signature}", f"{header}.payload.{signature}", f"{encoded}..AAAA"]

    verdicts = {verdict_on(bank, token) for token in tokens}
    assert verdicts <= {INVALID_TOKEN, INVALID_REQUEST}


# §4 Header parameters


@pytest.mark.parametrize(
    "first", [{"alg": "none"}, {"kid": "rsa"}, {"typ": "JWT"}, {"jku": "http://127.0.0.1:1/"}]
)
@pytest.mark.parametrize("order", ["first", "last"])
def test_rfc7515_4_a_header_with_a_parameter_twice_is_refused(
    bank: ResourceServerUnderTest, first: dict[str, str], order: str
) -> None:
    good = octets({**bank.issuer.header("ec"), "jku": "http://127.0.0.1:2/"})[1:-1]
    bad = octets(first)[1:-1]
    members = b",".join([bad, good] if order == "first" else [good, bad])

    assert verdict_on(bank, with_header(bank.issuer, b"{" + members + b"}")) == INVALID_TOKEN


def test_rfc7515_4_a_parameter_whose_name_is_spelt_with_escapes_is_the_same_one(
    bank: ResourceServerUnderTest,
) -> None:
    once = octets(bank.issuer.header("ec")).replace(b'"alg"', b'"\\u0061lg"')
    twice = once[:-1] + b', "alg": "ES256"}'

    assert read_with(bank, with_header(bank.issuer, once)).status == 200
    assert verdict_on(bank, with_header(bank.issuer, twice)) == INVALID_TOKEN


def self_signed(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a certificate as `x5c` has it: base64 of DER."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    return "".join(certificate.public_bytes(Encoding.PEM).decode().splitlines()[1:-1])


def test_rfc7515_4_1_6_a_certificate_in_the_header_is_not_used(
    bank: ResourceServerUnderTest,
) -> None:
    with attacker_of(bank.issuer) as forger:
        key = forger.keys["ec"].pair.private_key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        header = {"x5c": [self_signed(key)]}
        token = forger.token("ec", header=header, claims={"iss": bank.issuer.url})

        assert verdict_on(bank, token) == INVALID_TOKEN


@pytest.mark.parametrize(
    "parameter",
    [
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"b64": False},
        {"enc": "A128GCM"},
        {"p2c": 2**31},
        {"epk": {}},
        {"apu": "AA"},
        {"x5t": "AAAA"},
        {"x5t#S256": 5},
        {"nonce": "x"},
        {"iss": "http://evil.example"},
        {"aud": "http://evil.example"},
    ],
    ids=named,
)
def test_rfc7515_4_a_parameter_that_is_not_critical_changes_nothing(
    bank: ResourceServerUnderTest, parameter: dict[str, Any]
) -> None:
    assert read_with(bank, bank.issuer.token("ec", header=parameter)).status == 200
