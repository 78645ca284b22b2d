"""RFC 7523 and RFC 7521 at the token endpoint: a client that authenticates by a signed assertion.

With what OIDC Core §9 and draft-ietf-oauth-rfc7523bis say more, and RFC 8725 of every JWT.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from tests.conformance.http_exchange import Answer
from tests.conformance.jwt_reading import read_jwt
from tests.conformance.token_requests import basic, in_the_body, refusal, request_token
from tests.conformance.under_test import AuthorizationServerUnderTest, Client
from tests.stack.issuer import ABSENT, OwnIssuer
from tests.stack.signing_client import SigningClient, assertion_parameters

INVALID_CLIENT = (401, "invalid_client")
INVALID_REQUEST = (400, "invalid_request")
AT_ONCE = 12
A_WHILE_SECONDS = 600  # more than any leeway


def present(server: AuthorizationServerUnderTest, assertion: str, **changes: str) -> Answer:
    """Ask for a token with ``assertion``; ``changes`` are to the parameters that present it."""
    parameters = {**assertion_parameters(assertion), **changes}
    return request_token(server, *((name, value) for name, value in parameters.items() if value))


@pytest.fixture(params=["RS256", "PS256", "ES256", "Ed25519"])
def kid(request: pytest.FixtureRequest, signing_client: SigningClient) -> str:
    """The key of each algorithm in turn."""
    for kid, key in signing_client.keys.items():
        if key.algorithm == request.param:
            return kid
    pytest.skip(f"the client has no key for {request.param}")


# RFC 7521 §4.2, RFC 7523 §2.2: how an assertion is presented


def test_rfc7523_2_2_a_signed_assertion_authenticates_a_client(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, kid: str
) -> None:
    answer = present(server, signing_client.assertion(kid))

    assert answer.status == 200
    claims = read_jwt(answer.json()["access_token"]).claims
    assert claims["client_id"] == signing_client.client_id


def test_rfc7521_4_2_the_client_id_may_stand_beside_the_assertion(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    answer = present(server, signing_client.assertion(), client_id=signing_client.client_id)

    assert answer.status == 200


def test_rfc7521_4_2_the_client_id_beside_the_assertion_is_that_of_its_subject(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    answer = present(server, signing_client.assertion(), client_id=server.client.client_id)

    assert refusal(answer) in {INVALID_CLIENT, INVALID_REQUEST}


@pytest.mark.parametrize(
    "assertion_type",
    [
        "",
        "jwt-bearer",
        "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        "URN:IETF:PARAMS:OAUTH:CLIENT-ASSERTION-TYPE:JWT-BEARER",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ],
    ids=["missing", "short", "saml", "capitals", "of a grant"],
)
def test_rfc7523_2_2_the_assertion_type_is_exactly_jwt_bearer(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, assertion_type: str
) -> None:
    answer = present(server, signing_client.assertion(), client_assertion_type=assertion_type)

    assert refusal(answer) in {INVALID_CLIENT, INVALID_REQUEST}


def test_rfc7521_4_2_an_assertion_type_without_an_assertion_authenticates_nobody(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    answer = present(server, "", client_id=signing_client.client_id)

    assert refusal(answer) in {INVALID_CLIENT, INVALID_REQUEST}


def test_rfc6749_2_3_an_assertion_beside_a_secret_is_refused(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    parameters = assertion_parameters(signing_client.assertion()).items()
    by_header = request_token(server, *parameters, authorization=basic(server.client))
    by_body = request_token(server, *parameters, *in_the_body(server.client))

    assert {refusal(by_header), refusal(by_body)} == {INVALID_REQUEST}


def test_rfc6749_2_3_1_an_assertion_in_the_url_is_refused(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    query = f"client_assertion={signing_client.assertion()}"

    answer = request_token(server, client=server.client, query=query)

    assert refusal(answer) in {INVALID_CLIENT, INVALID_REQUEST}


# RFC 6749 §2.3: the registered method alone


def test_rfc7591_2_a_client_that_signs_is_not_let_in_by_a_secret(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    as_signer = Client(signing_client.client_id, server.client.client_secret)

    by_header = request_token(server, client=as_signer)
    by_body = request_token(server, *in_the_body(as_signer))

    assert {refusal(by_header), refusal(by_body)} == {INVALID_CLIENT}


def test_rfc7591_2_a_client_with_a_secret_is_not_let_in_by_an_assertion(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    client_id = server.client.client_id

    answer = present(server, signing_client.assertion(claims={"iss": client_id, "sub": client_id}))

    assert refusal(answer) == INVALID_CLIENT


# RFC 7523 §3: what an assertion has to say


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp"])
def test_rfc7523_3_a_required_claim_is_not_left_out(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, name: str
) -> None:
    answer = present(server, signing_client.assertion(claims={name: ABSENT}))

    assert refusal(answer) == INVALID_CLIENT


def test_oidc_core_9_an_assertion_has_a_jti(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    answer = present(server, signing_client.assertion(claims={"jti": ABSENT}))

    assert refusal(answer) == INVALID_CLIENT


@pytest.mark.parametrize("name", ["iss", "sub"])
def test_rfc7523_3_issuer_and_subject_are_the_client(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, name: str
) -> None:
    answer = present(server, signing_client.assertion(claims={name: server.client.client_id}))

    assert refusal(answer) == INVALID_CLIENT


def test_rfc7523bis_4_the_issuer_may_be_the_only_member_of_an_audience_array(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    answer = present(server, signing_client.assertion(claims={"aud": [server.issuer]}))

    assert answer.status == 200


def test_rfc7523_3_an_assertion_for_another_server_is_refused(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    answer = present(server, signing_client.assertion(claims={"aud": "https://other.example"}))

    assert refusal(answer) == INVALID_CLIENT


def test_rfc7523bis_4_the_token_endpoints_url_is_no_audience(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    answer = present(server, signing_client.assertion(claims={"aud": server.token_url}))

    assert refusal(answer) == INVALID_CLIENT


@pytest.mark.parametrize("other", ["https://other.example", "the token endpoint"])
def test_rfc7523bis_4_the_issuer_is_the_sole_audience(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, other: str
) -> None:
    audience = [server.issuer, server.token_url if other == "the token endpoint" else other]

    answer = present(server, signing_client.assertion(claims={"aud": audience}))

    assert refusal(answer) == INVALID_CLIENT


def test_rfc3986_6_2_1_audiences_are_compared_as_texts(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    slash = present(server, signing_client.assertion(claims={"aud": server.issuer + "/"}))
    capitals = present(server, signing_client.assertion(claims={"aud": server.issuer.upper()}))

    assert {refusal(slash), refusal(capitals)} == {INVALID_CLIENT}


def test_rfc7523_3_an_expired_assertion_is_refused(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    past = int(time.time()) - A_WHILE_SECONDS

    answer = present(server, signing_client.assertion(claims={"exp": past, "iat": past - 60}))

    assert refusal(answer) == INVALID_CLIENT


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_rfc7523_3_an_assertion_of_the_future_is_refused(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, name: str
) -> None:
    future = int(time.time()) + A_WHILE_SECONDS

    answer = present(server, signing_client.assertion(claims={name: future, "exp": future + 60}))

    assert refusal(answer) == INVALID_CLIENT


def test_rfc7523_3_an_assertion_that_would_live_unreasonably_long_is_refused(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    in_ten_years = int(time.time()) + 10 * 365 * 86400

    answer = present(server, signing_client.assertion(claims={"exp": in_ten_years}))

    assert refusal(answer) == INVALID_CLIENT


@pytest.mark.parametrize(
    "claims",
    [{"exp": "soon"}, {"exp": None}, {"exp": True}, {"nbf": "x"}, {"iat": {}}, {"jti": 7},
     {"sub": ["x"]}, {"aud": {}}, {"aud": []}],
    ids=str,
)  # fmt: skip
def test_rfc7519_4_1_a_claim_of_another_type_is_refused(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, claims: dict[str, Any]
) -> None:
    assert refusal(present(server, signing_client.assertion(claims=claims))) == INVALID_CLIENT


# RFC 7523 §3, point 7: once


def test_rfc7523_3_an_assertion_is_taken_once(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    assertion = signing_client.assertion()

    statuses = [present(server, assertion).status for _ in range(3)]

    assert statuses == [200, 401, 401]


def test_rfc7523_3_a_jti_is_taken_once_whatever_else_the_assertion_says(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    first = signing_client.assertion()
    same = {"jti": read_jwt(first).claims["jti"], "more": "claims"}

    statuses = [
        present(server, one).status for one in (first, signing_client.assertion(claims=same))
    ]

    assert statuses == [200, 401]


def test_rfc7523_3_of_one_assertion_sent_many_times_at_once_one_is_taken(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    assertion, start = signing_client.assertion(), Barrier(AT_ONCE)

    def ask(_number: int) -> int:
        start.wait()
        return present(server, assertion).status

    with ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = sorted(pool.map(ask, range(AT_ONCE)))

    assert statuses == [200] + [401] * (AT_ONCE - 1)


# RFC 7523 §3, point 9, and RFC 8725: the signature


def test_rfc7523_3_an_assertion_of_another_key_is_refused(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, kid: str
) -> None:
    signature = read_jwt(signing_client.assertion(kid)).signature

    answer = present(server, signing_client.assertion(kid, signature=signature))

    assert refusal(answer) == INVALID_CLIENT


@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
@pytest.mark.parametrize("signature", [b"", None], ids=["unsigned", "signed"])
def test_rfc8725_3_2_an_assertion_without_an_algorithm_is_refused(
    server: AuthorizationServerUnderTest,
    signing_client: SigningClient,
    alg: str,
    signature: bytes | None,
) -> None:
    answer = present(server, signing_client.assertion(header={"alg": alg}, signature=signature))

    assert refusal(answer) == INVALID_CLIENT


def test_rfc8725_3_1_a_public_key_is_no_secret_of_a_mac(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, kid: str
) -> None:
    with OwnIssuer(audience=server.issuer, client_id=signing_client.client_id) as forger:
        forger.url, forger.keys = signing_client.client_id, dict(signing_client.keys)
        assertion = forger.token_with_hs256(signing_client.keys[kid].public_pem(), kid)

    assert refusal(present(server, assertion)) == INVALID_CLIENT


@pytest.mark.parametrize(("own", "other"), [("RS256", "PS256"), ("PS256", "RS256")])
def test_rfc8725_3_1_a_key_is_used_with_its_own_algorithm_alone(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, own: str, other: str
) -> None:
    keys = {
        kid: replace(key, algorithm=other)
        for kid, key in signing_client.keys.items()
        if key.algorithm == own
    }
    if not keys:
        pytest.skip(f"the client has no key for {own}")

    answer = present(server, replace(signing_client, keys=keys).assertion())

    assert refusal(answer) == INVALID_CLIENT


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "dpop+jwt", "logout+jwt"])
def test_rfc8725_3_12_another_kind_of_jwt_is_no_assertion(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, typ: str
) -> None:
    answer = present(server, signing_client.assertion(header={"typ": typ}))

    assert refusal(answer) == INVALID_CLIENT


@pytest.mark.parametrize("typ", ["client-authentication+jwt", "JWT", ABSENT], ids=str)
def test_rfc7523bis_4_an_assertion_has_a_type_of_its_own_or_that_of_old_clients(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, typ: object
) -> None:
    assert present(server, signing_client.assertion(header={"typ": typ})).status == 200


def test_rfc8725_3_12_a_token_of_the_server_is_no_assertion(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    answer = present(server, signing_client.assertion())

    again = present(server, answer.json()["access_token"])

    assert refusal(again) == INVALID_CLIENT


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "exp", None], ids=str)
def test_rfc7515_4_1_11_critical_extensions_that_are_not_understood_are_refused(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, crit: object
) -> None:
    answer = present(server, signing_client.assertion(header={"crit": crit, "b64": True}))

    assert refusal(answer) == INVALID_CLIENT


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
def test_rfc8725_3_10_a_key_that_the_assertion_brings_is_not_used(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, member: str
) -> None:
    with OwnIssuer(audience=server.issuer) as thief:
        thief.add_key("stolen")
        key = thief.keys["stolen"]
        forger = SigningClient(signing_client.client_id, server.issuer, {"stolen": key})
        brought = {"jwk": key.public_jwk(), "jku": f"{thief.url}/jwks", "x5u": f"{thief.url}/jwks",
                   "x5c": ["MIIB"]}  # fmt: skip
        header = {member: brought[member]}

        answer = present(server, forger.assertion(header=header))

        assert refusal(answer) == INVALID_CLIENT
        assert dict(thief.fetches) == {}


@pytest.mark.parametrize(
    "assertion",
    ["x", "a.b.c", "...", "e30.e30.", "e30.e30.e30", "W10.W10.eA", "\x00", "é", "a" * 30_000],
    ids=lambda text: ascii(text)[:20],
)
def test_rfc7523_3_what_is_no_jwt_is_refused(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, assertion: str
) -> None:
    answer = present(server, assertion, client_id=signing_client.client_id)

    assert refusal(answer) == INVALID_CLIENT


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        (b'{"alg":"%s","alg":"none"}', b"{}"),
        (b'{"alg":"%s"}', b'{"sub":"a","sub":"b"}'),
        (b'{"alg":"%s"}', b'{"exp":NaN}'),
        (b'{"alg":"%s"}', b'{"exp":1e999}'),
        (b'{"alg":"%s"}', b"[" * 5000),
        (b'{"alg":"%s"}', b'{"sub":"\\ud800","iss":"\\ud800"}'),
        (b'{"alg":"%s"}', b"\xff\xfe{}"),
    ],
    ids=["alg twice", "sub twice", "NaN", "beyond floats", "deep", "surrogate", "no UTF-8"],
)
def test_rfc8725_2_4_what_two_parsers_could_read_as_two_things_is_refused(
    server: AuthorizationServerUnderTest,
    signing_client: SigningClient,
    header: bytes,
    claims: bytes,
) -> None:
    kid, key = next(iter(signing_client.keys.items()))
    good = json.dumps(signing_client.claims()).encode()
    claims = claims.replace(b"{", good[:-1] + b",", 1) if claims.startswith(b'{"') else claims

    answer = present(server, signing_client.signed(header % key.algorithm.encode(), claims, kid))

    assert refusal(answer) == INVALID_CLIENT


# RFC 6749 §5.2: how it is refused


def test_rfc6749_5_2_an_unknown_client_and_a_wrong_signature_cannot_be_told_apart(
    server: AuthorizationServerUnderTest, signing_client: SigningClient, kid: str
) -> None:
    wrong = present(server, signing_client.assertion(kid, signature=b"\x01" * 64))
    nobody = SigningClient("nobody-of-that-name", server.issuer, signing_client.keys)
    unknown = present(server, nobody.assertion(kid))
    of_secret = SigningClient(server.client.client_id, server.issuer, signing_client.keys)
    other_method = present(server, of_secret.assertion(kid))

    answers = {
        (answer.status, answer.body, answer.header("WWW-Authenticate"))
        for answer in (wrong, unknown, other_method)
    }
    assert len(answers) == 1
    assert refusal(wrong) == INVALID_CLIENT


def test_rfc8414_2_the_metadata_names_the_method_and_its_algorithms(
    server: AuthorizationServerUnderTest, signing_client: SigningClient
) -> None:
    metadata = server.metadata

    assert "private_key_jwt" in metadata["token_endpoint_auth_methods_supported"]
    algorithms = {key.algorithm for key in signing_client.keys.values()}
    assert algorithms <= set(metadata["token_endpoint_auth_signing_alg_values_supported"])
    assert "none" not in metadata["token_endpoint_auth_signing_alg_values_supported"]
