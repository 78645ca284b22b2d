"""RFC 7519 and RFC 8259 at the resource server: claims have one reading."""

import json
import time
from typing import Any

import pytest

from tests.conformance.bank_requests import INVALID_TOKEN, named, read_with, verdict_on
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer

TOO_LARGE = (431, None)


def with_claims(issuer: OwnIssuer, claims: bytes) -> str:
    return issuer.signed(json.dumps(issuer.header("ec")).encode(), claims, "ec")


def with_raw_claim(issuer: OwnIssuer, name: str, value: str) -> str:
    """Return a token that is good but for the claim ``name``, which is spelt ``value``."""
    claims = {claim: text for claim, text in issuer.claims().items() if claim != name}
    octets = json.dumps(claims).encode()[:-1]
    return with_claims(issuer, octets + f', "{name}": {value}}}'.encode())


# §2 NumericDate

NO_TIMES = {
    "1e400": "1e400",
    "-1e400": "-1e400",
    "huge exponent": "1E2147483647",
    "4000 digits": "9" * 4000,
    "4301 digits": "9" * 4301,
    "year 10000": "253402300800",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "true": "true",
    "false": "false",
    "null": "null",
    "text": '"4102444800"',
    "date": '"2100-01-01T00:00:00Z"',
    "list": "[4102444800]",
    "object": '{"$numberLong": "4102444800"}',
    "hexadecimal": "0xF4865700",
    "leading plus": "+4102444800",
    "leading zero": "04102444800",
    "underscores": "4_102_444_800",
    "trailing dot": "4102444800.",
    "leading dot": ".5e10",
    "Arabic digits": "٤١٠٢٤٤٤٨٠٠",
    "milliseconds in the far future": "4102444800000",
}


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
def test_rfc7519_2_what_is_no_sane_number_is_no_time(
    bank: ResourceServerUnderTest, claim: str, value: str
) -> None:
    token = with_raw_claim(bank.issuer, claim, NO_TIMES[value])

    assert verdict_on(bank, token) == INVALID_TOKEN


def test_rfc7519_2_a_number_of_10000_digits_is_refused(bank: ResourceServerUnderTest) -> None:
    token = with_raw_claim(bank.issuer, "exp", "9" * 10_000)

    assert verdict_on(bank, token) in {INVALID_TOKEN, TOO_LARGE}


def test_rfc7519_2_a_time_may_have_a_fraction_or_an_exponent(
    bank: ResourceServerUnderTest,
) -> None:
    spellings = [f"{time.time() + 300:.3f}", "4.1024448e9", "4102444800.0", "41024448E2"]
    tokens = [with_raw_claim(bank.issuer, "exp", spelling) for spelling in spellings]

    assert [read_with(bank, token).status for token in tokens] == [200] * 4


# §4 Each claim once


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "sub", "client_id", "jti", "scope", "own"])
@pytest.mark.parametrize("order", ["good one first", "good one last", "the same twice"])
@pytest.mark.parametrize("name", ["plain", "escaped"])
def test_rfc7519_4_claims_with_one_of_them_twice_are_refused(
    bank: ResourceServerUnderTest, claim: str, order: str, name: str
) -> None:
    claims = {"own": 1, **bank.issuer.claims()}
    spelt = claim if name == "plain" else f"\\u{ord(claim[0]):04x}{claim[1:]}"
    other = claims[claim] if order == "the same twice" else "http://evil.example"
    good = json.dumps(claims)[1:-1]
    again = f'"{spelt}": {json.dumps(other)}'
    members = [again, good] if order == "good one last" else [good, again]

    token = with_claims(bank.issuer, f"{{{', '.join(members)}}}".encode())

    assert verdict_on(bank, token) == INVALID_TOKEN


def test_rfc7519_4_a_member_twice_further_in_is_refused_too(bank: ResourceServerUnderTest) -> None:
    token = with_raw_claim(bank.issuer, "cnf", '{"jkt": "a", "jkt": "b"}')

    assert verdict_on(bank, token) == INVALID_TOKEN


# §2, §7.3 Texts are compared by their code points (RFC 8259 §8.3)


def look_alikes(url: str) -> dict[str, Any]:
    """Return texts that a reader, a browser or a normalisation could take for ``url``."""
    port = url.rpartition(":")[2]  # or all but the scheme
    return {
        "Cyrillic": url.replace("o", "\u043e").replace("p", "\u0440"),
        "full width": url.replace("p", "\uff50"),
        "full width colon": url.replace("://", "\uff1a//"),
        "zero width space": f"{url}\u200b",
        "zero width joiner": url.replace("//", "//\u200d"),
        "soft hyphen": url.replace("//", "//\u00ad"),
        "byte order mark": f"\ufeff{url}",
        "combining dot": url.replace("t", "t\u0307"),
        "right to left": f"\u202e{url}",
        "full width end": url[:-1] + chr(0xFEE0 + ord(url[-1])),
        "NUL at the end": f"{url}\x00",
        "space before": f" {url}",
        "space behind": f"{url} ",
        "newline behind": f"{url}\n",
        "percent encoding": f"{url[:-1]}%{ord(url[-1]):02x}",
        "scheme in capitals": url.replace("http", "HTTP"),
        "without a scheme": url.partition("://")[2],
        "another scheme": url.replace("http", "ftp", 1),
        "user before the host": url.replace("//", "//user@"),
        "our address as user": f"{url}@evil.example",
        "as the start of a host": f"{url}.evil.example",
        "leading zero of the port": url.replace(port, f"0{port}"),
        "another port": url.replace(port, f"{port}0"),
        "a slash more": f"{url}/",
        "a path": f"{url}/a/..",
        "a fragment": f"{url}#",
        "a query": f"{url}?a",
        "pattern": ".*",
        "asterisk": "*",
    }


LOOK_ALIKES = list(look_alikes("http://example:1"))


@pytest.mark.parametrize("how", LOOK_ALIKES)
def test_rfc7519_7_3_an_issuer_that_looks_alike_is_another(
    bank: ResourceServerUnderTest, how: str
) -> None:
    iss = look_alikes(bank.issuer.url)[how]

    assert iss != bank.issuer.url
    assert verdict_on(bank, bank.issuer.token("ec", claims={"iss": iss})) == INVALID_TOKEN


@pytest.mark.parametrize("form", ["text", "list"])
@pytest.mark.parametrize("how", LOOK_ALIKES)
def test_rfc7519_7_3_an_audience_that_looks_alike_is_another(
    bank: ResourceServerUnderTest, how: str, form: str
) -> None:
    aud = look_alikes(bank.issuer.audience)[how]

    assert aud != bank.issuer.audience
    claims = {"aud": aud if form == "text" else [aud]}
    assert verdict_on(bank, bank.issuer.token("ec", claims=claims)) == INVALID_TOKEN


@pytest.mark.parametrize("claim", ["iss", "aud"])
def test_rfc8259_8_3_a_text_that_is_spelt_with_escapes_is_the_same_text(
    bank: ResourceServerUnderTest, claim: str
) -> None:
    text = bank.issuer.claims()[claim]
    escaped = "".join(f"\\u{ord(character):04x}" for character in text)

    assert read_with(bank, with_raw_claim(bank.issuer, claim, f'"{escaped}"')).status == 200


# RFC 8725 §3.7 and RFC 8259 §2: what another parser could read otherwise


@pytest.mark.parametrize(
    "around",
    [
        "{}\x00",
        "{}{{}}",
        "{} // a comment",
        "/* a comment */ {}",
        "[{}]",
        "\ufeff{}",
        ")]}}',\n{}",
        "a({})",
    ],
    ids=named,
)
def test_rfc8259_2_claims_with_something_around_them_are_refused(
    bank: ResourceServerUnderTest, around: str
) -> None:
    claims = around.format(json.dumps(bank.issuer.claims()))

    assert verdict_on(bank, with_claims(bank.issuer, claims.encode())) == INVALID_TOKEN


@pytest.mark.parametrize(
    "value",
    ["'x'", "undefined", "1,", "{a: 1}", '"a\tb"', '"\\x41"', '"\\ud800', "[1,]", "True", "-"],
    ids=named,
)
def test_rfc8259_2_a_claim_that_is_no_json_is_refused(
    bank: ResourceServerUnderTest, value: str
) -> None:
    assert verdict_on(bank, with_raw_claim(bank.issuer, "own", value)) == INVALID_TOKEN


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"])
def test_rfc8725_3_7_claims_in_another_encoding_are_refused(
    bank: ResourceServerUnderTest, encoding: str
) -> None:
    claims = json.dumps({**bank.issuer.claims(), "own": "é"}, ensure_ascii=False)

    octets = claims.encode(encoding) + (b"\xff" if encoding == "utf-7" else b"")

    assert verdict_on(bank, with_claims(bank.issuer, octets)) == INVALID_TOKEN


@pytest.mark.parametrize("octets", [b"\xc0\xae", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80"])
def test_rfc8725_3_7_utf_8_that_is_malformed_is_refused(
    bank: ResourceServerUnderTest, octets: bytes
) -> None:
    claims = json.dumps({**bank.issuer.claims(), "own": "#"}).encode().replace(b"#", octets)

    assert verdict_on(bank, with_claims(bank.issuer, claims)) == INVALID_TOKEN


@pytest.mark.parametrize("depth", [1_000, 2_500, 5_000], ids=str)
@pytest.mark.parametrize("opening", ["[", '{"a":'], ids=["lists", "objects"])
def test_rfc8259_9_a_claim_too_deep_to_be_read_is_no_5xx(
    bank: ResourceServerUnderTest, opening: str, depth: int
) -> None:
    closing = "]" if opening == "[" else "}"
    levels = depth // len(opening)
    deep = opening * levels + "1" + closing * levels

    answer = read_with(bank, with_raw_claim(bank.issuer, "own", deep))

    assert answer.status in {200, 401, TOO_LARGE[0]}
