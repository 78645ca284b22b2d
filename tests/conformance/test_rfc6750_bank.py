"""RFC 6750 at the resource server: how the token comes, and how it is refused."""

import re

import pytest

from tests.conformance.bank_requests import INSUFFICIENT_SCOPE, INVALID_TOKEN, read_with, verdict
from tests.conformance.challenges import Challenge, challenge_in
from tests.conformance.http_exchange import Answer, form_headers, send
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import ABSENT

ERROR_TEXT = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")
SCOPE_TEXT = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*")


def expired(bank: ResourceServerUnderTest) -> str:
    return bank.issuer.token(claims={"iat": 1_000_000_000, "exp": 1_000_000_300})


def refusals(bank: ResourceServerUnderTest) -> list[Answer]:
    """Return an answer of each refusal there is."""
    return [
        send("GET", bank.url),
        send("GET", bank.url, [("Authorization", "Basic Zm9vOmJhcg==")]),
        send("GET", bank.url, [("Authorization", "Bearer")]),
        read_with(bank, "no-jwt"),
        read_with(bank, "two tokens"),
        read_with(bank, expired(bank)),
        read_with(bank, bank.issuer.id_token()),
        read_with(bank, bank.issuer.token(claims={"scope": "Other"})),
    ]


def challenges(bank: ResourceServerUnderTest) -> list[Challenge]:
    return [challenge_in(answer.header("WWW-Authenticate")) for answer in refusals(bank)]


# §2 How the token comes


def test_rfc6750_2_1_a_token_in_the_authorization_header_opens_the_resource(
    bank: ResourceServerUnderTest,
) -> None:
    assert read_with(bank, bank.issuer.token()).status == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_rfc9110_11_1_the_scheme_is_matched_without_case(
    bank: ResourceServerUnderTest, scheme: str
) -> None:
    headers = [("Authorization", f"{scheme} {bank.issuer.token()}")]

    assert send("GET", bank.url, headers).status == 200


def test_oauth2_1_5_1_a_token_in_the_query_opens_nothing(bank: ResourceServerUnderTest) -> None:
    answer = send("GET", f"{bank.url}?access_token={bank.issuer.token()}")

    assert verdict(answer) == (401, None)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_rfc6750_2_2_a_token_in_the_body_opens_nothing_by_get_or_unasked(
    bank: ResourceServerUnderTest, method: str
) -> None:
    body = f"access_token={bank.issuer.token()}".encode()

    assert send(method, bank.url, form_headers(), body).status in {401, 405}


def test_oauth2_1_5_1_a_token_in_the_query_does_not_mend_one_in_the_header(
    bank: ResourceServerUnderTest,
) -> None:
    headers = [("Authorization", f"Bearer {expired(bank)}")]

    answer = send("GET", f"{bank.url}?access_token={bank.issuer.token()}", headers)

    assert verdict(answer) in {INVALID_TOKEN, (400, "invalid_request")}


def test_rfc6750_2_two_methods_in_one_request_are_refused_or_the_header_alone_counts(
    bank: ResourceServerUnderTest,
) -> None:
    token = bank.issuer.token()

    answer = send("GET", f"{bank.url}?access_token={token}", [("Authorization", f"Bearer {token}")])

    assert verdict(answer) in {(200, None), (400, "invalid_request")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cookie", "access_token={token}"),
        ("Cookie", "Authorization=Bearer {token}"),
        ("X-Access-Token", "{token}"),
        ("X-Forwarded-Authorization", "Bearer {token}"),
        ("Proxy-Authorization", "Bearer {token}"),
        ("Authentication", "Bearer {token}"),
        ("DPoP", "{token}"),
        ("Referer", "http://localhost/?access_token={token}"),
        ("X-Original-URL", "/account?access_token={token}"),
    ],
    ids=[
        "cookie",
        "cookie named as the header",
        "header of its own",
        "forwarded",
        "for a proxy",
        "another name",
        "DPoP",
        "referer",
        "original URL",
    ],
)
def test_rfc6750_2_a_token_in_another_header_opens_nothing(
    bank: ResourceServerUnderTest, name: str, value: str
) -> None:
    answer = send("GET", bank.url, [(name, value.format(token=bank.issuer.token("ec")))])

    assert verdict(answer) == (401, None)


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer {good}, Bearer {good}",
        "Bearer {good},Bearer {expired}",
        "Bearer {expired}, Bearer {good}",
        "Basic Zm9vOmJhcg==, Bearer {good}",
        "Bearer {good}, Basic Zm9vOmJhcg==",
        "Bearer {good} {expired}",
        "Bearer Bearer {good}",
        "Bearer {good};{expired}",
        "Bearer access_token={good}",
        "Bearer: {good}",
        "Bearer={good}",
    ],
    ids=[
        "good, good",
        "good, expired",
        "expired, good",
        "Basic, Bearer",
        "Bearer, Basic",
        "two by a space",
        "scheme twice",
        "semicolon",
        "as a parameter",
        "colon",
        "equals sign",
    ],
)
def test_rfc6750_2_1_a_header_with_more_or_else_than_one_token_opens_nothing(
    bank: ResourceServerUnderTest, authorization: str
) -> None:
    value = authorization.format(good=bank.issuer.token("ec"), expired=expired(bank))

    answer = send("GET", bank.url, [("Authorization", value)])

    assert verdict(answer) in {(400, "invalid_request"), INVALID_TOKEN, (401, None)}


@pytest.mark.parametrize("name", ["access_token", "token", "id_token", "bearer", "Authorization"])
def test_oauth2_1_5_1_a_token_opens_nothing_under_whatever_name_in_the_query(
    bank: ResourceServerUnderTest, name: str
) -> None:
    answer = send("GET", f"{bank.url}?{name}={bank.issuer.token('ec')}")

    assert verdict(answer) == (401, None)


# §3 The challenge


def test_rfc6750_3_every_refusal_has_a_bearer_challenge(bank: ResourceServerUnderTest) -> None:
    assert {challenge.scheme for challenge in challenges(bank)} == {"bearer"}


def test_rfc6750_3_every_challenge_has_a_parameter(bank: ResourceServerUnderTest) -> None:
    assert [challenge for challenge in challenges(bank) if not challenge.parameters] == []


def test_rfc6750_3_no_parameter_of_a_challenge_stands_twice(
    bank: ResourceServerUnderTest,
) -> None:
    names = [challenge.names for challenge in challenges(bank)]

    assert [repeated for repeated in names if len(set(repeated)) < len(repeated)] == []


@pytest.mark.parametrize(
    ("parameter", "grammar"),
    [("error", ERROR_TEXT), ("error_description", ERROR_TEXT), ("scope", SCOPE_TEXT)],
    ids=["error", "error_description", "scope"],
)
def test_rfc6750_3_no_parameter_has_characters_outside_its_set(
    bank: ResourceServerUnderTest, parameter: str, grammar: re.Pattern[str]
) -> None:
    values = [
        challenge[parameter] for challenge in challenges(bank) if parameter in challenge.names
    ]

    assert values != []
    assert [value for value in values if not grammar.fullmatch(value)] == []


def test_rfc6750_3_what_a_token_says_does_not_break_the_challenge(
    bank: ResourceServerUnderTest,
) -> None:
    hostile = 'x", error="insufficient_scope\\\r\nX-Injected: 1'
    tokens = [
        bank.issuer.token(claims={"iss": hostile}),
        bank.issuer.token(claims={"aud": hostile}),
        bank.issuer.token(header={"kid": hostile}),
        bank.issuer.token(header={"typ": hostile}),
        bank.issuer.token(header={"alg": hostile}),
    ]
    answers = [read_with(bank, token) for token in tokens]

    assert {verdict(answer) for answer in answers} == {INVALID_TOKEN}
    assert {answer.header("X-Injected") for answer in answers} == {None}


# §3.1 The codes


def test_rfc6750_3_1_without_a_token_there_is_401_and_no_code(
    bank: ResourceServerUnderTest,
) -> None:
    answer = send("GET", bank.url)

    assert verdict(answer) == (401, None)
    assert set(challenge_in(answer.header("WWW-Authenticate")).names).isdisjoint(
        {"error", "error_description", "error_uri"}
    )


@pytest.mark.parametrize(
    "authorization",
    ["Basic Zm9vOmJhcg==", "Digest a=b", "BearerToken abc", "DPoP abc"],
    ids=["basic", "digest", "longer name", "dpop"],
)
def test_rfc6750_3_1_with_another_scheme_there_is_401_and_no_code(
    bank: ResourceServerUnderTest, authorization: str
) -> None:
    answer = send("GET", bank.url, [("Authorization", authorization)])

    assert verdict(answer) == (401, None)


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", 'Bearer "a"', "Bearer é", "Bearer a=b=c"],
    ids=["bare", "empty", "two", "comma", "quoted", "not ASCII", "padding inside"],
)
def test_rfc6750_3_1_a_malformed_header_is_invalid_request_or_invalid_token(
    bank: ResourceServerUnderTest, authorization: str
) -> None:
    answer = send("GET", bank.url, [("Authorization", authorization)])

    assert verdict(answer) in {(400, "invalid_request"), INVALID_TOKEN}


def test_rfc6750_3_1_two_authorization_headers_are_invalid_request_or_invalid_token(
    bank: ResourceServerUnderTest,
) -> None:
    header = ("Authorization", f"Bearer {bank.issuer.token()}")

    answer = send("GET", bank.url, [header, header])

    assert verdict(answer) in {(400, "invalid_request"), (400, None), INVALID_TOKEN}


@pytest.mark.parametrize("token", ["abc", "a.b", "a.b.c", "..", "a.b.c.d.e", "-._~+/=="])
def test_rfc6750_3_1_what_is_no_token_of_the_issuer_is_invalid_token(
    bank: ResourceServerUnderTest, token: str
) -> None:
    assert verdict(read_with(bank, token)) == INVALID_TOKEN


def test_rfc6750_3_1_an_expired_token_is_invalid_token(bank: ResourceServerUnderTest) -> None:
    assert verdict(read_with(bank, expired(bank))) == INVALID_TOKEN


@pytest.mark.parametrize(
    "scope",
    ["Write", "", "{scope}er", "x{scope}", "{lower}", "{scope},Write", ABSENT],
    ids=["another", "empty", "longer", "prefixed", "lower case", "comma", "none"],
)
def test_rfc6750_3_1_a_token_without_the_scope_is_insufficient_scope(
    bank: ResourceServerUnderTest, scope: str
) -> None:
    if isinstance(scope, str):
        scope = scope.format(scope=bank.scope, lower=bank.scope.swapcase())

    assert (
        verdict(read_with(bank, bank.issuer.token(claims={"scope": scope}))) == INSUFFICIENT_SCOPE
    )


def test_rfc6750_3_1_insufficient_scope_names_the_scope_that_is_needed(
    bank: ResourceServerUnderTest,
) -> None:
    answer = read_with(bank, bank.issuer.token(claims={"scope": "Write"}))

    assert challenge_in(answer.header("WWW-Authenticate"))["scope"] == bank.scope


@pytest.mark.parametrize("scope", ["{scope}", "Write {scope}", "{scope} {scope}"])
def test_rfc6749_7_a_token_with_the_scope_opens_the_resource(
    bank: ResourceServerUnderTest, scope: str
) -> None:
    token = bank.issuer.token(claims={"scope": scope.format(scope=bank.scope)})

    assert read_with(bank, token).status == 200


def test_rfc6750_5_3_no_answer_repeats_the_token(bank: ResourceServerUnderTest) -> None:
    tokens = [bank.issuer.token(), expired(bank), bank.issuer.id_token()]
    answers = [(token, read_with(bank, token)) for token in tokens]

    assert [
        answer.status
        for token, answer in answers
        if token in f"{answer.headers}{answer.body.decode()}"
    ] == []


def test_rfc9457_3_a_refusal_describes_the_problem(bank: ResourceServerUnderTest) -> None:
    kinds = {
        (answer.media_type, answer.json()["status"] == answer.status) for answer in refusals(bank)
    }

    assert kinds == {("application/problem+json", True)}
