"""Hostile input at the resource server: forged, confused and malformed tokens, never a 5xx."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.bank_requests import (
    INSUFFICIENT_SCOPE,
    INVALID_TOKEN,
    named,
    read_with,
    verdict,
    verdict_on,
)
from tests.conformance.http_exchange import host_of, send, send_octets
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import ABSENT

INVALID_REQUEST = (400, "invalid_request")
DEEP = 2500

HOSTILE_JSON = {
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep lists without an end": b"[" * DEEP,
    "deep objects": b'{"a":' * (DEEP // 3) + b"1" + b"}" * (DEEP // 3),
    "large integer": b'{"exp":' + b"9" * 4500 + b"}",
    "NaN": b'{"exp":NaN}',
    "infinity": b'{"exp":Infinity}',
    "number that overflows": b'{"exp":1e999}',
    "trailing text": b"{} {}",
    "comment": b"{/* */}",
    "single quotes": b"{'typ':'at+jwt'}",
    "lone surrogate": b'{"typ":"\\ud800"}',
    "NUL in a name": b'{"\\u0000":1}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"typ":"at+jwt"}'.encode("utf-16"),
}

NUMBERS: list[Any] = [
    float("nan"),
    float("inf"),
    float("-inf"),
    1e308,
    -1e308,
    10**400,
    -(10**400),
    2**63,
    -1,
    "",
    "1e5",
    [],
    {},
    True,
    False,
    None,
]


def with_json(bank: ResourceServerUnderTest, part: str, octets: bytes) -> str:
    parts = {
        "header": json.dumps(bank.issuer.header()).encode(),
        "claims": json.dumps(bank.issuer.claims()).encode(),
    }
    parts[part] = octets
    return bank.issuer.signed(parts["header"], parts["claims"])


@pytest.mark.parametrize("name", HOSTILE_JSON)
@pytest.mark.parametrize("part", ["header", "claims"])
def test_hostile_json_in_a_token_is_invalid_token(
    bank: ResourceServerUnderTest, name: str, part: str
) -> None:
    assert verdict_on(bank, with_json(bank, part, HOSTILE_JSON[name])) == INVALID_TOKEN


@pytest.mark.parametrize("part", ["header", "claims"])
@pytest.mark.parametrize("depth", [50, 900, DEEP // 2])
def test_a_deep_member_beside_good_ones_is_no_5xx(
    bank: ResourceServerUnderTest, part: str, depth: int
) -> None:
    members = bank.issuer.header() if part == "header" else bank.issuer.claims()
    nested = b"[" * depth + b"]" * depth
    octets = json.dumps(members).encode()[:-1] + b', "x": ' + nested + b"}"

    assert verdict_on(bank, with_json(bank, part, octets)) in {(200, None), INVALID_TOKEN}


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: repr(value)[:12])
def test_a_hostile_time_is_invalid_token(
    bank: ResourceServerUnderTest, claim: str, value: Any
) -> None:
    past = [-1, False, -1e308, float("-inf")]
    verdicts = {INVALID_TOKEN} | ({(200, None)} if claim == "nbf" and value in past else set())
    if claim == "iat" and value in past:
        verdicts.add((200, None))

    assert verdict_on(bank, bank.issuer.token(claims={claim: value})) in verdicts


@pytest.mark.parametrize("member", ["typ", "alg", "kid"])
@pytest.mark.parametrize(
    "value",
    [[], {}, [[]], 1, 1.5, True, None, "\x00", "\ud800", "é", "x" * 3000, {"a": ["b"]}, ABSENT],
    ids=lambda value: named(value)[:12],
)
def test_a_hostile_header_member_is_invalid_token(
    bank: ResourceServerUnderTest, member: str, value: Any
) -> None:
    assert verdict_on(bank, bank.issuer.token(header={member: value})) == INVALID_TOKEN


@pytest.mark.parametrize("member", ["jku", "x5u", "x5c", "x5t", "jwk", "zip", "enc", "b64", "cty"])
@pytest.mark.parametrize("value", ["http://127.0.0.1:1/", 1, None, [1], {"kty": "oct"}], ids=repr)
def test_a_header_member_that_is_not_used_does_no_harm(
    bank: ResourceServerUnderTest, member: str, value: Any
) -> None:
    verdicts = {(200, None), INVALID_TOKEN}

    assert verdict_on(bank, bank.issuer.token(header={member: value})) in verdicts


@pytest.mark.parametrize("claim", ["sub", "client_id", "jti", "scope", "iss", "aud"])
@pytest.mark.parametrize(
    "value",
    ["\x00", "\ud800", "' OR '1'='1", "é" * 500, "\u202eevil", "a\r\nX-Injected: 1", {}, [[]], 0],
    ids=["NUL", "surrogate", "sql", "long", "bidi", "newline", "object", "lists", "zero"],
)
def test_a_hostile_claim_is_refused_or_ignored(
    bank: ResourceServerUnderTest, claim: str, value: Any
) -> None:
    answer = read_with(bank, bank.issuer.token(claims={claim: value}))

    # A subject that was signed may be any text; an account of it need not be there.
    assert verdict(answer) in {(200, None), (404, None), INVALID_TOKEN, INSUFFICIENT_SCOPE}
    assert answer.header("X-Injected") is None


@pytest.mark.parametrize("size", [1, 1000, 6000])
def test_a_long_token_is_refused(bank: ResourceServerUnderTest, size: int) -> None:
    assert verdict_on(bank, "a" * size) == INVALID_TOKEN


@pytest.mark.parametrize("size", [9_000, 60_000])
def test_a_token_too_long_for_a_header_is_refused(bank: ResourceServerUnderTest, size: int) -> None:
    assert read_with(bank, "a" * size).status in {400, 401, 413, 431}


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        " ",
        "Bearer  ",
        "Bearer\t{token}",
        "Bearer {token} ",
        " Bearer {token}",
        "Bearer  {token}",
        "Bearer:{token}",
        "Bearer={token}",
        "Bearer {token}, Basic Zm9vOmJhcg==",
        "Bearer {token},Bearer {token}",
        "Basic Zm9vOmJhcg==, Bearer {token}",
        'Bearer token="{token}"',
        "{token}",
        "Bearer Bearer {token}",
        "Token {token}",
        "Bearer \u00e9{token}",
    ],
)
def test_a_hostile_authorization_header_is_refused_or_read_as_http_has_it(
    bank: ResourceServerUnderTest, authorization: str
) -> None:
    value = authorization.format(token=bank.issuer.token())

    answer = send("GET", bank.url, [("Authorization", value)])

    # White space around a header's value is not part of it (RFC 9110 §5.5), and between scheme
    # and token there may be more than one space (RFC 9110 §11.4).
    blanks = authorization in {"Bearer {token} ", " Bearer {token}", "Bearer  {token}"}
    granted = {(200, None)} if blanks else set()
    assert verdict(answer) in {(401, None), INVALID_REQUEST, INVALID_TOKEN} | granted


@pytest.mark.parametrize(
    "query", ["access_token=", "access_token=x&access_token=y", "%FF", "a=%00", "limit=x", "&&&"]
)
def test_a_hostile_query_does_not_break_a_good_request(
    bank: ResourceServerUnderTest, query: str
) -> None:
    headers = [("Authorization", f"Bearer {bank.issuer.token()}")]

    assert send("GET", f"{bank.url}?{query}", headers).status in {200, 400}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "FOO"])
def test_another_method_reads_nothing(bank: ResourceServerUnderTest, method: str) -> None:
    headers = [("Authorization", f"Bearer {bank.issuer.token()}")]

    answer = send(method, bank.url, headers, b"")

    assert answer.status in {200, 204, 400, 405, 501}
    assert b"balance" not in answer.body


@pytest.mark.parametrize("path", ["/", "//", "/%00", "/%FF", ";x", "/..", "x"])
def test_a_path_beside_the_resource_is_not_found(bank: ResourceServerUnderTest, path: str) -> None:
    headers = [("Authorization", f"Bearer {bank.issuer.token()}")]

    answer = send("GET", bank.url + path, headers)

    assert answer.status in {400, 401, 404}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("traceparent", "00-\xff-\xff-\xff"),
        ("traceparent", "00-" + "0" * 32 + "-" + "0" * 16 + "-00"),
        ("X-Forwarded-User", "admin"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Client-Id", "admin"),
        ("Range", "bytes=0-0"),
        ("If-None-Match", '"of another account"'),
        ("Cookie", "access_token=x"),
    ],
    ids=lambda text: text[:20].encode("ascii", "replace").decode(),
)
def test_a_hostile_header_opens_nothing_and_breaks_nothing(
    bank: ResourceServerUnderTest, name: str, value: str
) -> None:
    token = ("Authorization", f"Bearer {bank.issuer.token()}")

    without, with_token = (
        send("GET", bank.url, headers).status
        for headers in ([(name, value)], [(name, value), token])
    )

    assert (without, with_token) == (401, 200)


RAW = {
    "raw octets": b"Bearer \xff\xfe\xfd",
    "NUL": b"Bearer a\x00b",
    "vertical tab": b"Bearer\x0babc",
    "delete": b"Bearer a\x7fb",
    "folded": b"Bearer\r\n abc",
    "UTF-8": "Bearer é".encode(),
}


@pytest.mark.parametrize("name", RAW)
def test_raw_octets_in_the_authorization_header_are_refused_or_hung_up_on(
    bank: ResourceServerUnderTest, name: str
) -> None:
    head = f"GET /account HTTP/1.1\r\nHost: {host_of(bank.url)}\r\nConnection: close\r\n".encode()

    answer = send_octets(bank.url, head + b"Authorization: " + RAW[name] + b"\r\n\r\n", "GET")

    assert answer is None or answer.status in {400, 401}


BODIES = {
    "broken chunk": b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "short chunk": b'Transfer-Encoding: chunked\r\n\r\n20\r\n{"amount":',
    "no last chunk": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "broken trailer": b"Transfer-Encoding: chunked\r\n\r\n0\r\n\x00\r\n\r\n",
    "large chunks": b"Transfer-Encoding: chunked\r\n\r\n"
    + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 3
    + b"0\r\n\r\n",
    "short body": b'Content-Length: 100\r\n\r\n{"amount":',
    "length and chunks": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "negative length": b"Content-Length: -1\r\n\r\n{}",
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("token", ["good", "none"])
def test_a_malformed_body_is_refused_or_hung_up_on(
    bank: ResourceServerUnderTest, name: str, token: str
) -> None:
    head = f"POST /payments HTTP/1.1\r\nHost: {host_of(bank.url)}\r\nIdempotency-Key: k\r\n"
    head += "Content-Type: application/json\r\n"
    if token == "good":
        head += f"Authorization: Bearer {bank.issuer.token()}\r\n"

    answer = send_octets(bank.url, head.encode() + BODIES[name])

    assert answer is None or 400 <= answer.status < 500


def test_a_request_that_names_no_host_is_refused(bank: ResourceServerUnderTest) -> None:
    token = bank.issuer.token()
    head = f"GET /account HTTP/1.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"

    answer = send_octets(bank.url, head.encode(), "GET")

    assert answer is not None
    assert answer.status == 400  # RFC 9112 §3.2: MUST


SWEEP = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def encoded(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


@SWEEP
@given(
    header=st.binary(max_size=40), claims=st.binary(max_size=40), signature=st.binary(max_size=9)
)
def test_no_three_parts_whatever_yield_anything_but_invalid_token(
    bank: ResourceServerUnderTest, header: bytes, claims: bytes, signature: bytes
) -> None:
    token = ".".join(map(encoded, (header, claims, signature)))

    assert verdict_on(bank, token) == INVALID_TOKEN


@SWEEP
@given(member=st.sampled_from(["typ", "alg", "kid", "crit"]), value=JSON_VALUES)
def test_no_header_whatever_yields_anything_but_invalid_token(
    bank: ResourceServerUnderTest, member: str, value: Any
) -> None:
    assert verdict_on(bank, bank.issuer.token(header={member: value})) == INVALID_TOKEN


@SWEEP
@given(
    claim=st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "sub", "client_id", "jti", "scope"]),
    value=JSON_VALUES,
)
def test_no_claim_whatever_yields_a_5xx(
    bank: ResourceServerUnderTest, claim: str, value: Any
) -> None:
    verdicts = {(200, None), (404, None), INVALID_TOKEN, INSUFFICIENT_SCOPE}

    assert verdict_on(bank, bank.issuer.token(claims={claim: value})) in verdicts


@SWEEP
@given(value=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40))
def test_no_authorization_header_whatever_opens_the_resource_or_yields_a_5xx(
    bank: ResourceServerUnderTest, value: str
) -> None:
    answer = send("GET", bank.url, [("Authorization", value)])

    assert verdict(answer) in {(401, None), INVALID_REQUEST, INVALID_TOKEN}
