import json

import pytest

from auth_server.signed_jwt import LONGEST_JWT, base64url_decoded, json_object, signed_jwt
from tests.stack.issuer import base64url


def compact(header: bytes, claims: bytes, signature: bytes = b"s") -> str:
    return b".".join(map(base64url, (header, claims, signature))).decode()


def test_a_jwt_is_taken_apart() -> None:
    jwt = signed_jwt(compact(b'{"alg": "ES256"}', b'{"sub": "a"}', b"xyz"))
    assert (jwt.header, jwt.claims, jwt.signature) == ({"alg": "ES256"}, {"sub": "a"}, b"xyz")


def test_what_is_signed_is_the_text_as_it_came() -> None:
    text = compact(b'{ "alg":"ES256"}', b'{"sub":  "a"}')
    assert signed_jwt(text).signing_input == text.rpartition(".")[0].encode()


@pytest.mark.parametrize(
    "bad",
    ["", "a", "..", "a.b", "e30.e30", "e30.e30.s.e30.e30", "e30.e30.é", "e30.e30.s!", "e3 0.e30.s",
     "e30.e30.c3==", "e30.e31.c3", "e30.W10.c3", "e30.bnVsbA.c3",
     compact(b"{}", b'{"exp": NaN}'), compact(b"{}", b'{"a": 1, "a": 2}'),
     compact(b'{"alg": "x", "alg": "y"}', b"{}"), compact(b"{}", b"\xff{}"),
     compact(b"{}", "{}".encode("utf-16")), compact(b"{}", b"[" * 2000 + b"]" * 2000),
     compact(b"{}", b'{"a": ' + b"9" * 5000 + b"}")],
    ids=lambda text: ascii(text)[:40],
)  # fmt: skip
def test_what_is_no_well_formed_jwt_is_a_value_error(bad: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        signed_jwt(bad)


def test_a_jwt_that_is_too_long_is_not_parsed() -> None:
    filler = "x" * LONGEST_JWT
    with pytest.raises(ValueError, match="longer than"):
        signed_jwt(compact(b"{}", json.dumps({"a": filler}).encode()))


def test_base64url_has_one_spelling() -> None:
    assert base64url_decoded("YQ") == b"a"
    with pytest.raises(ValueError, match="not base64url"):
        base64url_decoded("YR")


def test_nesting_too_deep_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        json_object(b'{"a": ' + b"[" * 100_000)
