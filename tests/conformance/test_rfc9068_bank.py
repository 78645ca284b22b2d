"""RFC 9068 §4 (and RFC 7519 §4.1) at the resource server: which access tokens are good."""

import time
import uuid
from typing import Any

import pytest

from tests.conformance.bank_requests import INVALID_TOKEN, named, read_with, verdict_on
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import ABSENT, OwnIssuer, base64url

LONG_AGO = 1_000_000_000
FAR_AHEAD = 10_000_000_000
LONGEST_COOLDOWN_SECONDS = 30


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "Application/at+JWT"])
def test_rfc9068_4_a_token_of_type_at_jwt_is_taken(bank: ResourceServerUnderTest, typ: str) -> None:
    assert read_with(bank, bank.issuer.token(header={"typ": typ})).status == 200


@pytest.mark.parametrize(
    "typ",
    [ABSENT, None, "", "JWT", "at", "at+jwt ", "xat+jwt", "text/at+jwt", "dpop+jwt", 1, ["at+jwt"]],
    ids=named,
)
def test_rfc9068_4_a_token_of_another_type_is_refused(
    bank: ResourceServerUnderTest, typ: Any
) -> None:
    assert verdict_on(bank, bank.issuer.token(header={"typ": typ})) == INVALID_TOKEN


def test_rfc9068_4_an_id_token_is_refused(bank: ResourceServerUnderTest) -> None:
    assert verdict_on(bank, bank.issuer.id_token()) == INVALID_TOKEN


def test_rfc9068_4_an_id_token_with_the_banks_audience_is_refused(
    bank: ResourceServerUnderTest,
) -> None:
    token = bank.issuer.token(header={"typ": "JWT"})

    assert verdict_on(bank, token) == INVALID_TOKEN


def test_rfc9068_4_an_encrypted_token_without_agreement_is_refused(
    bank: ResourceServerUnderTest,
) -> None:
    header = base64url(b'{"typ":"at+jwt","alg":"dir","enc":"A256GCM"}').decode()

    assert verdict_on(bank, f"{header}..AAAA.AAAA.AAAA") == INVALID_TOKEN


def issuers_that_are_not(issuer: OwnIssuer) -> list[Any]:
    url = issuer.url
    return [ABSENT, None, "", f"{url}/", url.upper(), url[:-1], f"{url}?", [url], {"iss": url}, 1]


@pytest.mark.parametrize(
    "which",
    range(10),
    ids=[
        "absent",
        "null",
        "empty",
        "with a slash",
        "in capitals",
        "shorter",
        "with a query",
        "in a list",
        "in an object",
        "a number",
    ],
)
def test_rfc9068_4_iss_must_be_exactly_the_issuer(
    bank: ResourceServerUnderTest, which: int
) -> None:
    iss = issuers_that_are_not(bank.issuer)[which]

    assert verdict_on(bank, bank.issuer.token(claims={"iss": iss})) == INVALID_TOKEN


def test_rfc9068_4_a_good_token_of_another_issuer_is_refused(
    bank: ResourceServerUnderTest,
) -> None:
    with OwnIssuer(audience=bank.issuer.audience) as another:
        another.add_key("theirs")
        assert verdict_on(bank, another.token("theirs")) == INVALID_TOKEN


@pytest.mark.parametrize("others", [[], ["https://other.example"]], ids=["alone", "beside another"])
def test_rfc9068_4_an_audience_may_be_a_list_that_contains_the_resource_server(
    bank: ResourceServerUnderTest, others: list[str]
) -> None:
    token = bank.issuer.token(claims={"aud": [*others, bank.issuer.audience]})

    assert read_with(bank, token).status == 200


def audiences_that_are_not(issuer: OwnIssuer) -> list[Any]:
    aud = issuer.audience
    return [
        ABSENT,
        None,
        "",
        [],
        issuer.client_id,
        f"{aud}/",
        f"{aud} https://other.example",
        aud[:-1],
        aud.upper(),
        ["https://other.example"],
        [aud, 1],
        [[aud]],
        {aud: True},
    ]


@pytest.mark.parametrize(
    "which",
    range(13),
    ids=[
        "absent",
        "null",
        "empty",
        "empty list",
        "the client",
        "with a slash",
        "two in a text",
        "shorter",
        "in capitals",
        "another in a list",
        "a number beside it",
        "list in a list",
        "object",
    ],
)
def test_rfc9068_4_aud_must_name_the_resource_server(
    bank: ResourceServerUnderTest, which: int
) -> None:
    aud = audiences_that_are_not(bank.issuer)[which]

    assert verdict_on(bank, bank.issuer.token(claims={"aud": aud})) == INVALID_TOKEN


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
def test_rfc9068_4_a_token_signed_with_a_published_key_is_taken(
    bank: ResourceServerUnderTest, kid: str
) -> None:
    assert read_with(bank, bank.issuer.token(kid)).status == 200


def test_oidc_core_10_1_1_a_new_key_is_fetched_when_a_token_names_it(
    bank: ResourceServerUnderTest,
) -> None:
    kid = f"new-{uuid.uuid4().hex}"
    bank.issuer.add_key(kid)
    deadline = time.monotonic() + LONGEST_COOLDOWN_SECONDS

    # Other tests name unknown keys too: the resource server may be in its cool-down after one.
    while (answer := read_with(bank, bank.issuer.token(kid))).status == 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer.status == 200


def test_rfc9068_4_alg_none_is_refused(bank: ResourceServerUnderTest) -> None:
    tokens = [
        bank.issuer.token(header={"alg": algorithm, "kid": kid}, signature=b"")
        for algorithm in ("none", "None", "NONE", "nOnE")
        for kid in ("rsa", ABSENT)
    ]

    assert {verdict_on(bank, token) for token in tokens} == {INVALID_TOKEN}


def test_rfc9068_4_a_changed_claim_is_refused(bank: ResourceServerUnderTest) -> None:
    header, _, signature = bank.issuer.token(claims={"scope": "Write"}).split(".")
    _, claims, _ = bank.issuer.token().split(".")

    assert verdict_on(bank, f"{header}.{claims}.{signature}") == INVALID_TOKEN


def test_rfc9068_4_a_signature_by_another_key_is_refused(bank: ResourceServerUnderTest) -> None:
    with OwnIssuer(audience=bank.issuer.audience) as forger:
        forger.add_key("rsa", like="rsa")
        token = forger.token("rsa", claims={"iss": bank.issuer.url})

    assert verdict_on(bank, token) == INVALID_TOKEN


@pytest.mark.parametrize(
    "exp",
    [ABSENT, None, "", 0, LONG_AGO, -1, str(FAR_AHEAD), True, [FAR_AHEAD], {}],
    ids=named,
)
def test_rfc9068_4_a_token_that_has_expired_or_never_says_when_is_refused(
    bank: ResourceServerUnderTest, exp: Any
) -> None:
    assert verdict_on(bank, bank.issuer.token(claims={"exp": exp})) == INVALID_TOKEN


def test_rfc7519_4_1_4_the_leeway_is_a_few_minutes_at_most(bank: ResourceServerUnderTest) -> None:
    five_minutes_ago = int(time.time()) - 301

    token = bank.issuer.token(claims={"iat": five_minutes_ago - 300, "exp": five_minutes_ago})

    assert verdict_on(bank, token) == INVALID_TOKEN


@pytest.mark.parametrize("nbf", [FAR_AHEAD, None, "", str(LONG_AGO), True, [1]], ids=named)
def test_rfc7519_4_1_5_a_token_before_its_nbf_is_refused(
    bank: ResourceServerUnderTest, nbf: Any
) -> None:
    assert verdict_on(bank, bank.issuer.token(claims={"nbf": nbf})) == INVALID_TOKEN


def test_rfc7519_4_1_5_a_token_after_its_nbf_is_taken(bank: ResourceServerUnderTest) -> None:
    assert read_with(bank, bank.issuer.token(claims={"nbf": LONG_AGO})).status == 200


@pytest.mark.parametrize("claim", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
def test_rfc9068_2_2_a_token_without_a_required_claim_is_no_access_token(
    bank: ResourceServerUnderTest, claim: str
) -> None:
    assert verdict_on(bank, bank.issuer.token(claims={claim: ABSENT})) == INVALID_TOKEN


@pytest.mark.parametrize("claim", ["sub", "client_id", "jti"])
@pytest.mark.parametrize("value", [None, "", 1, ["x"], {"x": 1}, "\x00"], ids=named)
def test_rfc9068_2_2_a_required_claim_of_another_kind_is_refused(
    bank: ResourceServerUnderTest, claim: str, value: Any
) -> None:
    assert verdict_on(bank, bank.issuer.token(claims={claim: value})) == INVALID_TOKEN


@pytest.mark.parametrize("claim", ["foo", "https://example.com/x", "roles", "cnf_"])
def test_rfc7519_4_a_claim_that_is_not_understood_is_ignored(
    bank: ResourceServerUnderTest, claim: str
) -> None:
    assert read_with(bank, bank.issuer.token(claims={claim: {"a": 1}})).status == 200


@pytest.mark.parametrize("scope", [["Read"], {"Read": 1}, 1, None], ids=named)
def test_rfc8693_4_2_a_scope_claim_that_is_no_text_is_refused(
    bank: ResourceServerUnderTest, scope: Any
) -> None:
    verdicts = {INVALID_TOKEN, (403, "insufficient_scope")}

    assert verdict_on(bank, bank.issuer.token(claims={"scope": scope})) in verdicts
