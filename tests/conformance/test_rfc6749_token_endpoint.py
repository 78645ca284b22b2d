"""RFC 6749 at the token endpoint, and RFC 7617 where HTTP Basic says more."""

import re
import secrets

import pytest

from tests.conformance.challenges import challenge_in
from tests.conformance.http_exchange import Answer, form_headers, send
from tests.conformance.token_requests import (
    GRANT,
    basic,
    basic_header,
    granted,
    in_the_body,
    refusal,
    request_token,
    scope_asked,
)
from tests.conformance.under_test import AuthorizationServerUnderTest, Client

ERROR_TEXT = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+")
INVALID_CLIENT = (401, "invalid_client")
INVALID_REQUEST = (400, "invalid_request")
INVALID_SCOPE = (400, "invalid_scope")
SLOWED_DOWN_WITHIN = 500


def wrong(client: Client) -> Client:
    return Client(client.client_id, client.client_secret[:-1] + "~")


def unknown_client(client: Client) -> Client:
    return Client(client.client_id + "-unknown", client.client_secret)


def percent_encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def errors(server: AuthorizationServerUnderTest) -> list[Answer]:
    """Return an answer of each error that a client can cause with one registration."""
    return [
        request_token(server, client=server.client, grant=()),
        request_token(server, client=server.client, grant=[("grant_type", "unknown")]),
        request_token(server, ("scope", "no such scope"), client=server.client),
        request_token(server, ("resource", "no URI"), client=server.client),
        request_token(server, client=wrong(server.client)),
        request_token(server, *in_the_body(wrong(server.client))),
        request_token(server),
    ]


# §2.3 Client authentication


def test_rfc6749_2_3_1_http_basic_authenticates_a_client(
    server: AuthorizationServerUnderTest,
) -> None:
    assert request_token(server, client=server.client).status == 200


def test_oauth2_1_2_4_1_credentials_in_the_body_authenticate_a_client(
    server: AuthorizationServerUnderTest,
) -> None:
    assert request_token(server, *in_the_body(server.client)).status == 200


def test_rfc6749_2_3_1_id_and_secret_are_form_decoded_after_base64(
    server: AuthorizationServerUnderTest,
) -> None:
    client = server.client
    pair = f"{percent_encoded(client.client_id)}:{percent_encoded(client.client_secret)}"

    assert request_token(server, authorization=basic_header(pair)).status == 200


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "bAsIc"])
def test_rfc7617_2_the_scheme_is_matched_without_case(
    server: AuthorizationServerUnderTest, scheme: str
) -> None:
    header = basic(server.client).replace("Basic", scheme)

    assert request_token(server, authorization=header).status == 200


@pytest.mark.parametrize("also_in_the_body", [False, True], ids=["url alone", "body too"])
def test_rfc6749_2_3_1_credentials_in_the_url_are_refused(
    server: AuthorizationServerUnderTest, also_in_the_body: bool
) -> None:
    client = server.client
    query = f"client_id={client.client_id}&client_secret={client.client_secret}"
    parameters = in_the_body(client) if also_in_the_body else []

    answer = request_token(server, *parameters, query=query)

    assert refusal(answer) in {INVALID_REQUEST, INVALID_CLIENT}


def test_rfc6749_2_3_1_wrong_secrets_are_slowed_down_and_right_ones_are_not(
    server: AuthorizationServerUnderTest,
) -> None:
    guessed = Client(f"guessed-{secrets.token_hex(8)}", "a guess")  # of no other test

    guesses = (request_token(server, client=guessed) for _ in range(SLOWED_DOWN_WITHIN))
    slowed = next((answer for answer in guesses if answer.status == 429), None)

    assert slowed is not None, f"{SLOWED_DOWN_WITHIN} wrong secrets were taken as they came"
    assert int(slowed.header("Retry-After") or "0") > 0
    assert slowed.members().keys() >= {"error"}
    assert request_token(server, client=server.client).status == 200


def test_rfc6749_2_3_two_mechanisms_in_one_request_are_refused(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = request_token(server, *in_the_body(server.client), client=server.client)

    assert refusal(answer) == INVALID_REQUEST


def test_rfc6749_2_3_a_right_secret_does_not_make_up_for_a_wrong_one_in_another_mechanism(
    server: AuthorizationServerUnderTest,
) -> None:
    body_right = request_token(server, *in_the_body(server.client), client=wrong(server.client))
    header_right = request_token(server, *in_the_body(wrong(server.client)), client=server.client)

    assert [refusal(body_right)[0] // 100, refusal(header_right)[0] // 100] == [4, 4]


def test_rfc6749_3_2_1_a_client_id_in_the_body_beside_basic_is_no_second_mechanism(
    server: AuthorizationServerUnderTest,
) -> None:
    client_id = ("client_id", server.client.client_id)

    assert request_token(server, client_id, client=server.client).status == 200


def test_rfc6749_3_2_1_a_client_id_in_the_body_must_be_that_of_the_header(
    server: AuthorizationServerUnderTest, narrow_client: Client
) -> None:
    client_id = ("client_id", narrow_client.client_id)

    answer = request_token(server, client_id, client=server.client)

    assert refusal(answer) in {INVALID_REQUEST, INVALID_CLIENT}


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic Zm9v",
        basic_header(b"\xff\xfe:\xff"),
        basic_header("a:%ZZ"),
        basic_header(":"),
        basic_header("\x00:\x00"),
    ],
    ids=[
        "no credentials",
        "empty",
        "no base64",
        "no colon",
        "no UTF-8",
        "broken percent",
        "empty pair",
        "NUL",
    ],
)
def test_rfc6749_5_2_malformed_basic_credentials_are_invalid_client(
    server: AuthorizationServerUnderTest, header: str
) -> None:
    assert refusal(request_token(server, authorization=header)) == INVALID_CLIENT


def test_rfc6749_5_2_an_unsupported_scheme_is_invalid_client(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = request_token(server, authorization="Digest username=x")

    assert refusal(answer) == INVALID_CLIENT


def test_rfc6749_3_2_1_a_request_without_client_authentication_is_invalid_client(
    server: AuthorizationServerUnderTest,
) -> None:
    assert refusal(request_token(server)) in {INVALID_CLIENT, (400, "invalid_client")}


def test_rfc6749_4_4_a_client_id_alone_gets_no_token(server: AuthorizationServerUnderTest) -> None:
    answer = request_token(server, ("client_id", server.client.client_id))

    assert refusal(answer) in {INVALID_CLIENT, (400, "invalid_client")}


def test_rfc6749_3_2_1_a_disabled_client_gets_no_token(
    server: AuthorizationServerUnderTest, disabled_client: Client
) -> None:
    assert refusal(request_token(server, client=disabled_client)) == INVALID_CLIENT


def test_rfc6749_10_10_a_secret_cannot_be_guessed(server: AuthorizationServerUnderTest) -> None:
    bits_of_a_character = 6  # of base64url; what a person chose would have fewer

    assert len(server.client.client_secret) * bits_of_a_character >= 160


# §3.2 The token endpoint


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_rfc6749_3_2_a_token_is_asked_for_by_post_alone(
    server: AuthorizationServerUnderTest, method: str
) -> None:
    answer = send(method, server.token_url, [("Authorization", basic(server.client))])

    assert answer.status == 405
    assert "POST" in (answer.header("Allow") or "")


def test_rfc6749_3_2_the_url_of_the_token_endpoint_has_no_fragment(
    server: AuthorizationServerUnderTest,
) -> None:
    assert "#" not in server.token_url


@pytest.mark.parametrize("name", ["scope", "resource", "client_id", "client_secret", "foo"])
def test_rfc6749_3_2_an_empty_parameter_counts_as_omitted(
    server: AuthorizationServerUnderTest, name: str
) -> None:
    answer = request_token(server, (name, ""), client=server.client)

    assert answer.status == 200
    assert answer.json().get("scope") == granted(server).get("scope")


def test_rfc6749_3_2_an_empty_grant_type_counts_as_omitted(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = request_token(server, client=server.client, grant=[("grant_type", "")])

    assert refusal(answer) == INVALID_REQUEST


@pytest.mark.parametrize("query", ["", "foo=bar"], ids=["body", "body and url"])
def test_rfc6749_3_2_an_unrecognised_parameter_is_ignored(
    server: AuthorizationServerUnderTest, query: str
) -> None:
    answer = request_token(server, ("foo", "bar"), client=server.client, query=query)

    assert answer.status == 200


@pytest.mark.parametrize("name", ["grant_type", "scope", "client_id", "client_secret"])
@pytest.mark.parametrize("differs", [False, True], ids=["the same", "another"])
def test_rfc6749_3_2_a_repeated_parameter_is_invalid_request(
    server: AuthorizationServerUnderTest, name: str, differs: bool
) -> None:
    form = dict([GRANT, scope_asked(server), *in_the_body(server.client)])
    again = (name, form[name] + ("x" if differs else ""))

    answer = request_token(server, *form.items(), again, grant=())

    assert refusal(answer) == INVALID_REQUEST


def test_rfc6749_4_4_2_parameters_in_the_url_are_not_those_of_the_request(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = request_token(
        server, client=server.client, grant=(), query="grant_type=client_credentials"
    )

    assert refusal(answer) == INVALID_REQUEST


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", b'{"grant_type": "client_credentials"}'),
        ("text/plain", b"grant_type=client_credentials"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\n'
            b"client_credentials\r\n--b--\r\n",
        ),
    ],
    ids=["json", "text", "multipart"],
)
def test_rfc6749_4_4_2_a_body_that_is_no_form_is_invalid_request(
    server: AuthorizationServerUnderTest, media_type: str, body: bytes
) -> None:
    headers = [("Content-Type", media_type), ("Authorization", basic(server.client))]

    assert refusal(send("POST", server.token_url, headers, body)) == INVALID_REQUEST


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x-www-form-urlencoded; charset=UTF-8",
        "Application/X-WWW-Form-UrlEncoded",
    ],
    ids=["with a charset", "in capitals"],
)
def test_rfc9110_8_3_1_a_media_type_has_parameters_and_no_case(
    server: AuthorizationServerUnderTest, media_type: str
) -> None:
    headers = [("Content-Type", media_type), ("Authorization", basic(server.client))]

    answer = send("POST", server.token_url, headers, b"grant_type=client_credentials")

    assert answer.status == 200


def test_rfc6749_appendix_b_a_form_that_is_no_utf_8_is_invalid_request(
    server: AuthorizationServerUnderTest,
) -> None:
    headers = form_headers(Authorization=basic(server.client))

    answer = send("POST", server.token_url, headers, b"grant_type=client_credentials&scope=%FF%FE")

    assert refusal(answer) in {INVALID_REQUEST, INVALID_SCOPE}


# §3.3 Scope


@pytest.mark.parametrize(
    "scope",
    ['"', "\\", "\x00", "\x1f", "\x7f", "é", "\u2003", "{first}\t{second}", "{first}\n"],
    ids=[
        "quote",
        "backslash",
        "NUL",
        "control",
        "delete",
        "not ASCII",
        "wide space",
        "tab between",
        "newline",
    ],
)
def test_rfc6749_3_3_a_scope_of_other_characters_is_invalid_scope(
    server: AuthorizationServerUnderTest, scope: str
) -> None:
    scope = scope.format(first=server.scopes[0], second=server.scopes[-1])

    assert refusal(request_token(server, ("scope", scope), client=server.client)) == INVALID_SCOPE


def test_rfc6749_3_3_an_unknown_scope_is_invalid_scope(
    server: AuthorizationServerUnderTest,
) -> None:
    scope = f"{server.scopes[0]} no-such-scope"

    assert refusal(request_token(server, ("scope", scope), client=server.client)) == INVALID_SCOPE


def test_rfc6749_3_3_a_scope_is_matched_with_its_case(server: AuthorizationServerUnderTest) -> None:
    scope = server.scopes[0].swapcase()

    assert refusal(request_token(server, ("scope", scope), client=server.client)) == INVALID_SCOPE


def test_rfc6749_3_3_the_order_of_scopes_does_not_matter(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = granted(server, ("scope", " ".join(reversed(server.scopes))))

    scope = answer.get("scope", " ".join(server.scopes))  # left out where it is what was asked
    assert set(scope.split()) == set(server.scopes)


def test_rfc6749_5_2_a_scope_that_the_client_may_not_have_is_invalid_scope(
    server: AuthorizationServerUnderTest, narrow_client: Client
) -> None:
    answer = request_token(server, scope_asked(server), client=narrow_client)

    assert refusal(answer) == INVALID_SCOPE


def test_rfc6749_3_3_without_a_scope_there_is_a_default_or_invalid_scope(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = request_token(server, client=server.client)

    if answer.status == 400:
        assert refusal(answer) == INVALID_SCOPE
    else:
        assert set(server.scopes) >= set(answer.json()["scope"].split()) - {"openid"}


def test_rfc6749_3_3_the_answer_names_the_scope_where_none_was_asked_for(
    server: AuthorizationServerUnderTest, narrow_client: Client
) -> None:
    answer = granted(server, client=narrow_client)

    assert answer["scope"] == server.scopes[0]


def test_rfc6749_3_3_the_answer_names_the_scope_where_it_is_more_than_was_asked_for(
    server: AuthorizationServerUnderTest, id_tokens: None
) -> None:
    answer = granted(server, ("scope", "openid"))

    assert set(answer["scope"].split()) == {"openid", *server.scopes}


# §4.4 The grant


def test_rfc6749_4_4_2_a_missing_grant_type_is_invalid_request(
    server: AuthorizationServerUnderTest,
) -> None:
    assert refusal(request_token(server, client=server.client, grant=())) == INVALID_REQUEST


@pytest.mark.parametrize("grant_type", ["urn:example:unknown", "Client_Credentials", "\x00"])
def test_rfc6749_5_2_an_unknown_grant_type_is_unsupported(
    server: AuthorizationServerUnderTest, grant_type: str
) -> None:
    answer = request_token(server, client=server.client, grant=[("grant_type", grant_type)])

    assert refusal(answer) == (400, "unsupported_grant_type")


def test_rfc6749_4_4_3_there_is_no_refresh_token(server: AuthorizationServerUnderTest) -> None:
    assert "refresh_token" not in granted(server, scope_asked(server))


# §5.1 The successful response


def test_rfc6749_5_1_the_answer_is_json(server: AuthorizationServerUnderTest) -> None:
    answer = request_token(server, client=server.client)

    assert (answer.status, answer.media_type) == (200, "application/json")


def test_rfc6749_5_1_the_answer_has_a_token_and_its_type(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = granted(server)

    assert answer["token_type"].lower() == "bearer"
    assert re.fullmatch(r"[\x20-\x7E]+", answer["access_token"])


def test_rfc6749_5_1_the_answer_says_how_many_seconds_the_token_lives(
    server: AuthorizationServerUnderTest,
) -> None:
    lifetime = granted(server)["expires_in"]

    assert type(lifetime) is int
    assert lifetime > 0


def test_rfc6750_5_3_a_token_lives_for_an_hour_at_most(
    server: AuthorizationServerUnderTest,
) -> None:
    assert granted(server)["expires_in"] <= 3600


def test_rfc6749_5_1_the_answer_may_not_be_kept(server: AuthorizationServerUnderTest) -> None:
    answer = request_token(server, client=server.client)

    assert "no-store" in (answer.header("Cache-Control") or "")
    assert answer.header("Pragma") == "no-cache"


def test_rfc6749_10_3_two_tokens_are_never_the_same(server: AuthorizationServerUnderTest) -> None:
    assert granted(server)["access_token"] != granted(server)["access_token"]


# §5.2 The error response


def test_rfc6749_5_2_an_error_is_a_json_object_with_a_code(
    server: AuthorizationServerUnderTest,
) -> None:
    kinds = {(answer.media_type, type(answer.members()["error"])) for answer in errors(server)}

    assert kinds == {("application/json", str)}


def test_rfc6749_5_2_an_error_is_400_or_for_failed_authentication_401(
    server: AuthorizationServerUnderTest,
) -> None:
    statuses = {refusal(answer) for answer in errors(server)}

    allowed = {INVALID_REQUEST, INVALID_SCOPE, INVALID_CLIENT, (400, "invalid_client")}
    assert statuses <= allowed | {(400, "unsupported_grant_type"), (400, "invalid_target")}


def test_rfc6749_5_2_code_and_description_hold_no_quote_backslash_or_control(
    server: AuthorizationServerUnderTest,
) -> None:
    texts = [
        answer.members()[name]
        for answer in errors(server)
        for name in ("error", "error_description")
        if name in answer.members()
    ]

    assert [text for text in texts if not ERROR_TEXT.fullmatch(text)] == []


def test_rfc6749_5_1_an_error_may_not_be_kept_either(server: AuthorizationServerUnderTest) -> None:
    kept = [answer.header("Cache-Control") for answer in errors(server)]

    assert [value for value in kept if "no-store" not in (value or "")] == []


def test_rfc6749_5_2_failed_basic_authentication_is_401_with_a_basic_challenge(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = request_token(server, client=wrong(server.client))

    assert refusal(answer) == INVALID_CLIENT
    assert challenge_in(answer.header("WWW-Authenticate")).scheme == "basic"


def test_rfc7617_2_a_basic_challenge_has_a_realm(server: AuthorizationServerUnderTest) -> None:
    answer = request_token(server, client=wrong(server.client))

    assert challenge_in(answer.header("WWW-Authenticate")).names.count("realm") == 1


def test_rfc9110_15_5_2_every_401_has_a_challenge(server: AuthorizationServerUnderTest) -> None:
    challenges = [
        answer.header("WWW-Authenticate") for answer in errors(server) if answer.status == 401
    ]

    assert None not in challenges


def test_rfc6749_5_2_a_failed_authentication_in_the_body_is_invalid_client(
    server: AuthorizationServerUnderTest,
) -> None:
    answer = request_token(server, *in_the_body(wrong(server.client)))

    assert refusal(answer) in {INVALID_CLIENT, (400, "invalid_client")}


def test_rfc6749_5_2_an_unknown_client_and_a_wrong_secret_cannot_be_told_apart(
    server: AuthorizationServerUnderTest,
) -> None:
    wrong_secret = request_token(server, client=wrong(server.client))
    unknown = request_token(server, client=unknown_client(server.client))

    assert (unknown.status, unknown.body) == (wrong_secret.status, wrong_secret.body)
    assert unknown.header("WWW-Authenticate") == wrong_secret.header("WWW-Authenticate")


def test_rfc6749_5_2_an_error_shows_no_secret(server: AuthorizationServerUnderTest) -> None:
    secret = server.client.client_secret.encode()
    answers = [
        *errors(server),
        request_token(server, *in_the_body(server.client), client=server.client),
    ]

    assert [answer.body for answer in answers if secret in answer.body] == []
