"""Hostile input at the endpoints that take a token: the RFC's answer, never a 5xx or a hang."""

import base64
import json
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.http_exchange import form_headers, send
from tests.conformance.token_requests import basic, basic_header, granted, refusal
from tests.conformance.under_test import AuthorizationServerUnderTest, Client

INVALID_CLIENT = (401, "invalid_client")
INVALID_REQUEST = (400, "invalid_request")


@pytest.fixture(params=["introspection", "revocation"])
def endpoint(
    request: pytest.FixtureRequest,
    server: AuthorizationServerUnderTest,
    resource_server: Client,
    revocation: None,
) -> tuple[str, Client]:
    """The URL of the endpoint, and a client that may use it."""
    if request.param == "introspection":
        return server.introspection_url, resource_server
    return server.revocation_url, server.client


FORMS = {
    "nothing": b"",
    "only separators": b"&&&=&=&",
    "no equals sign": b"token",
    "empty": b"token=",
    "no name": b"=a",
    "array": b"token[]=a",
    "name in capitals": b"TOKEN=a",
    "name with a space": b"token+=a",
    "twice": b"token=a&token=a",
    "twice, once encoded": b"token=a&%74oken=a",
    "hint twice": b"token=a&token_type_hint=x&token_type_hint=x",
    "no UTF-8": b"token=%FF",
    "raw octets": b"token=\xff\xfe",
    "surrogate": b"token=%ED%A0%80",
    "overlong UTF-8": b"token=%C0%80",
    "broken percent": b"token=%",
    "percent of no hex": b"token=%zz",
    "two mechanisms": b"token=a&client_secret=x",
    "an assertion too": b"token=a&client_assertion=a.b.c",
}


def segment(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


HEADER = {"alg": "RS256", "typ": "at+jwt", "kid": "x"}
TEXTS = {
    "NUL": "\x00",
    "newline": "a\r\nX-Injected: 1",
    "sql": "' OR '1'='1",
    "markup": "<script>",
    "not ASCII": "é.é.é",
    "emoji": "😀",
    "long": "a" * 60_000,
    "dots": "." * 60_000,
    "unsigned": f"{segment({'alg': 'none', 'typ': 'at+jwt'})}.{segment({})}.",
    "no object": f"{segment([])}.{segment([])}.AAAA",
    "no JSON": f"{segment(b'x')}.{segment(b'x')}.AAAA",
    "header of no UTF-8": f"{segment(bytes([255]))}.e30.AAAA",
    "deep": f"{segment(b'[' * 5000)}.e30.AAAA",
    "deep in a member": segment(b'{"a":' * 1000) + ".e30.AAAA",
    "a number of many digits": f"{segment(b'9' * 5000)}.e30.AAAA",
    "kid no text": f"{segment({**HEADER, 'kid': [1]})}.e30.AAAA",
    "kid long": f"{segment({**HEADER, 'kid': 'k' * 5000})}.e30.AAAA",
    "kid sql": f"{segment({**HEADER, 'kid': '; DROP TABLE clients'})}.e30.AAAA",
    "crit no list": f"{segment({**HEADER, 'crit': 7})}.e30.AAAA",
    "jku": f"{segment({**HEADER, 'jku': 'http://127.0.0.1:1/'})}.e30.AAAA",
    "encrypted": f"{segment({'alg': 'dir', 'enc': 'A128GCM'})}..AAAA.AAAA.AAAA",
    "padding": f"{segment(HEADER)}==.e30=.AAAA=",
}

AUTHORIZATIONS = {
    "scheme alone": "Basic",
    "bearer": "Bearer abc",
    "not ASCII": "Basic é",
    "long": "Basic " + "A" * 7000,
    "no UTF-8": basic_header(b"\x80:\x80"),
    "NUL": basic_header("a\x00:b"),
    "percent NUL": basic_header("%00:%00"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_form_is_invalid_request(endpoint: tuple[str, Client], name: str) -> None:
    url, client = endpoint

    answer = send("POST", url, form_headers(Authorization=basic(client)), FORMS[name])

    assert refusal(answer) == INVALID_REQUEST


@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_token_is_just_no_token(endpoint: tuple[str, Client], name: str) -> None:
    url, client = endpoint
    form = f"token={quote_plus(TEXTS[name])}".encode()

    answer = send("POST", url, form_headers(Authorization=basic(client)), form)

    assert (answer.status, answer.members()) in [(200, {"active": False}), (200, {})]
    assert "X-Injected" not in dict(answer.headers)


@pytest.mark.parametrize("name", AUTHORIZATIONS)
def test_a_hostile_authorization_header_is_invalid_client(
    endpoint: tuple[str, Client], name: str
) -> None:
    headers = form_headers(Authorization=AUTHORIZATIONS[name])

    assert refusal(send("POST", endpoint[0], headers, b"token=a")) == INVALID_CLIENT


@pytest.mark.parametrize(
    "media_type",
    [None, "", "application/json", "multipart/form-data; boundary=x", "text/plain"],
    ids=["absent", "empty", "json", "multipart", "text"],
)
def test_what_is_no_form_is_invalid_request(
    endpoint: tuple[str, Client], media_type: str | None
) -> None:
    url, client = endpoint
    headers = [("Authorization", basic(client))]
    headers += [] if media_type is None else [("Content-Type", media_type)]

    assert refusal(send("POST", url, headers, b'{"token": "a"}')) == INVALID_REQUEST


@pytest.mark.parametrize("query", ["token=a", "client_secret=a", "client_assertion=a", "a&token=b"])
def test_a_credential_in_the_url_is_invalid_request(
    endpoint: tuple[str, Client], query: str
) -> None:
    url, client = endpoint
    headers = form_headers(Authorization=basic(client))

    assert refusal(send("POST", f"{url}?{query}", headers, b"token=a")) == INVALID_REQUEST


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"])
def test_another_method_is_not_allowed(endpoint: tuple[str, Client], method: str) -> None:
    url, client = endpoint

    answer = send(method, url, form_headers(Authorization=basic(client)), b"")

    assert (answer.status, answer.header("Allow")) == (405, "POST")


@pytest.mark.parametrize("path", ["{url}/", "{url}%00", "{url};a=b", "{url}.json"])
def test_a_path_beside_the_endpoint_is_not_found(endpoint: tuple[str, Client], path: str) -> None:
    url, client = endpoint
    headers = form_headers(Authorization=basic(client))

    assert send("POST", path.format(url=url), headers, b"token=a").status in {400, 404}


def test_a_body_that_is_too_large_is_refused(endpoint: tuple[str, Client]) -> None:
    url, client = endpoint
    headers = form_headers(Authorization=basic(client))

    assert send("POST", url, headers, b"token=" + b"a" * 66_000).status == 413


SWEEP = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PIECES = st.sampled_from(
    [b"token", b"token_type_hint", b"client_id", b"=", b"&", b"+", b"%00", b"%", b"\xff", b"eyJ"]
)


@SWEEP
@given(pieces=st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=20))
def test_no_form_whatever_yields_a_5xx(endpoint: tuple[str, Client], pieces: list[bytes]) -> None:
    url, client = endpoint

    answer = send("POST", url, form_headers(Authorization=basic(client)), b"".join(pieces))

    assert answer.status in {200, 400, 401}


@SWEEP
@given(text=st.text(max_size=60))
def test_no_text_whatever_is_an_active_token(endpoint: tuple[str, Client], text: str) -> None:
    url, client = endpoint
    form = f"token={quote_plus(text)}".encode() if text else b"token=+"

    answer = send("POST", url, form_headers(Authorization=basic(client)), form)

    assert (answer.status, answer.members().get("active", False)) == (200, False)


@SWEEP
@given(position=st.integers(0, 3000), character=st.sampled_from("AZaz09-_.= \x00é"))
def test_no_token_with_a_character_changed_is_active(
    server: AuthorizationServerUnderTest,
    endpoint: tuple[str, Client],
    position: int,
    character: str,
) -> None:
    url, client = endpoint
    token = granted(server)["access_token"]
    at = position % len(token)
    another = character if token[at] != character else "!"
    form = f"token={quote_plus(token[:at] + another + token[at + 1 :])}".encode()

    answer = send("POST", url, form_headers(Authorization=basic(client)), form)

    assert (answer.status, answer.members().get("active", False)) == (200, False)
