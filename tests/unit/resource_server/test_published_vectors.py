"""The vectors that Wycheproof publishes, against the signature check of the bank.

They are not part of this repository. Get them from https://github.com/C2SP/wycheproof and name the
folder with the JSON files:

    WYCHEPROOF_VECTORS=…/wycheproof/testvectors_v1 .venv/bin/python -m pytest \\
        tests/unit/resource_server/test_published_vectors.py -n 0

The payload of their tokens is no set of claims, so they are judged up to the signature: the token
is taken apart, its key is found in its key set, and verifies. We take fewer algorithms than the
vectors know. A vector counts as one to be taken where it is valid and its key is for one of ours.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from joserfc.jwk import ECKey, OKPKey, RSAKey

from resource_server.issuer_keys import (
    IssuerError,
    base64url_decoded,
    json_object,
    keys_of,
)

VARIABLE = "WYCHEPROOF_VECTORS"
KEY_TYPES: dict[str, type[RSAKey | ECKey | OKPKey]] = {
    "RS256": RSAKey,
    "PS256": RSAKey,
    "ES256": ECKey,
    "Ed25519": OKPKey,
}
"""The algorithms that we take, and the types of their keys."""
OF_TOKENS = ("json_web_signature_test.json", "json_web_key_test.json")
OF_SIGNATURES = {
    "rsa_signature_2048_sha256_test.json": "RS256",
    "rsa_signature_3072_sha256_test.json": "RS256",
    "rsa_signature_4096_sha256_test.json": "RS256",
    "rsa_pss_2048_sha256_mgf1_32_test.json": "PS256",
    "rsa_pss_3072_sha256_mgf1_32_test.json": "PS256",
    "rsa_pss_4096_sha256_mgf1_32_test.json": "PS256",
    "ecdsa_secp256r1_sha256_p1363_test.json": "ES256",
    "ed25519_test.json": "Ed25519",
}


def vectors(file: str) -> dict[str, Any]:
    """Return the published document, or skip the test."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no folder: get it from https://github.com/C2SP/wycheproof")
    if not (Path(folder) / file).exists():
        pytest.skip(f"{VARIABLE} has no {file}")
    document: dict[str, Any] = json.loads((Path(folder) / file).read_text())
    return document


def each(document: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each vector with its group, whose key it is for."""
    for group in document["testGroups"]:
        for vector in group["tests"]:
            yield group, vector


@pytest.mark.parametrize("file", OF_TOKENS)
def test_a_published_token_is_judged_as_its_vector_says(file: str) -> None:
    wrong = [
        f"{vector['tcId']} {vector['comment']} {vector['result']}"
        for group, vector in each(vectors(file))
        if is_taken(vector["jws"], key_set(group)) != is_to_be_taken(vector, key_set(group))
    ]

    assert wrong == []


@pytest.mark.parametrize("file", OF_SIGNATURES)
def test_a_published_signature_is_judged_as_its_vector_says(file: str) -> None:
    wrong = [
        f"{vector['tcId']} {vector['comment']} {vector['result']}"
        for group, vector in each(vectors(file))
        if vector["result"] != "acceptable"
        and verifies(group, vector, OF_SIGNATURES[file]) != (vector["result"] == "valid")
    ]

    assert wrong == []


def key_set(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JWK Set that the issuer would publish; a secret one, where there is no other."""
    key: dict[str, Any] = group.get("public") or group["private"]
    return key if "keys" in key else {"keys": [key]}


def is_to_be_taken(vector: Mapping[str, Any], jwks: Mapping[str, Any]) -> bool:
    algorithms = {jwk.get("alg") for jwk in jwks["keys"]}
    return vector["result"] == "valid" and algorithms <= KEY_TYPES.keys()


def is_taken(jws: str, jwks: Mapping[str, Any]) -> bool:
    """Tell whether the bank's parts, in its order, find the signature good."""
    try:
        header, payload, signature = jws.split(".")
        parameters = json_object(base64url_decoded(header))
        base64url_decoded(payload)
        key = keys_of(jwks)[parameters["kid"]]
        return key.algorithm == parameters["alg"] and key.verifies(
            f"{header}.{payload}".encode("ascii"), base64url_decoded(signature)
        )
    except (ValueError, KeyError, IssuerError):
        return False


def verifies(group: Mapping[str, Any], vector: Mapping[str, Any], algorithm: str) -> bool:
    public = load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    members = KEY_TYPES[algorithm].import_key(pem).as_dict(private=False)
    jwk = {**members, "kid": "k", "alg": algorithm}
    key = keys_of({"keys": [jwk]})["k"]
    return key.verifies(bytes.fromhex(vector["msg"]), bytes.fromhex(vector["sig"]))
