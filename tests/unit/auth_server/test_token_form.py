import io
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from flask import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.test import EnvironBuilder

from auth_server.token_form import TokenForm, form_decoded, token_form
from shared.whole_body import LONGEST_BODY_BYTES

GRANT = b"grant_type=client_credentials"
FORM = "application/x-www-form-urlencoded"


def form(body: bytes, query: str = "", content_type: str = FORM) -> TokenForm:
    builder = EnvironBuilder(
        "/oidc/token", method="POST", data=body, query_string=query, content_type=content_type
    )
    return token_form(Request(builder.get_environ()))


def chunked(body: bytes) -> Request:
    environ = EnvironBuilder("/oidc/token", method="POST", content_type=FORM).get_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ["wsgi.input"], environ["wsgi.input_terminated"] = io.BytesIO(body), True
    return Request(environ)


def test_parameters_are_decoded_as_a_form() -> None:
    assert form(GRANT + b"&scope=Read+Write%C3%A9").parameters["scope"] == "Read Writeé"


def test_of_another_endpoint_another_parameter_is_required() -> None:
    builder = EnvironBuilder("/", method="POST", data=b"token=a", content_type=FORM)
    form_of_token = token_form(Request(builder.get_environ()), required="token")
    assert form_of_token.parameters == {"token": "a"}
    with pytest.raises(InvalidRequestError, match="grant_type is missing"):
        form(b"token=a")


@pytest.mark.parametrize("query", ["token=a", "client_secret=a"])
def test_what_is_required_of_another_endpoint_may_not_stand_in_the_url(query: str) -> None:
    builder = EnvironBuilder(
        "/", method="POST", data=b"token=a", query_string=query, content_type=FORM
    )
    with pytest.raises(InvalidRequestError, match="in the URL"):
        token_form(Request(builder.get_environ()), required="token")


def test_an_empty_parameter_counts_as_omitted() -> None:
    assert form(GRANT + b"&scope=&client_id").parameters == {"grant_type": "client_credentials"}


def test_resources_are_kept_apart_as_they_may_come_twice() -> None:
    assert form(GRANT + b"&resource=a&resource=b").resources == ("a", "b")


def test_other_query_parameters_are_ignored() -> None:
    read = form(GRANT, query="scope=Admin&grant_type=password&client_id=x")
    assert read.parameters == {"grant_type": "client_credentials"}


@pytest.mark.parametrize("charset", ["", "; charset=UTF-8"], ids=["bare", "charset"])
def test_the_media_type_is_recognised(charset: str) -> None:
    assert form(GRANT, content_type=FORM.upper() + charset).parameters != {}


@pytest.mark.parametrize(
    "body",
    [b"", b"scope=Read", b"grant_type=", GRANT + b"&" + GRANT, GRANT + b"&x=1&x=2",
     GRANT + b"&x=%", GRANT + b"&x=%f", GRANT + b"&x=%zz", GRANT + b"&%ff=x", GRANT + b"&x=\xff",
     GRANT + b"&x=%ED%A0%80"],
)  # fmt: skip
def test_a_form_that_is_malformed_or_repeats_itself_is_invalid_request(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        form(body)


@pytest.mark.parametrize(
    "query", ["client_secret=x", "client_id=a&client_secret=x", "client_assertion=x",
              "client%5Fsecret=x", "client_secret="]
)  # fmt: skip
def test_credentials_in_the_query_are_invalid_request(query: str) -> None:
    with pytest.raises(InvalidRequestError, match="URL"):
        form(GRANT, query=query)


@pytest.mark.parametrize("content_type", ["application/json", "", "multipart/form-data", ';"'])
def test_another_media_type_is_invalid_request(content_type: str) -> None:
    with pytest.raises(InvalidRequestError, match="body"):
        form(GRANT, content_type=content_type)


def test_a_body_that_ends_before_its_length_is_invalid_request() -> None:
    environ = EnvironBuilder("/", method="POST", data=GRANT, content_type=FORM).get_environ()
    environ |= {"CONTENT_LENGTH": "100", "wsgi.input_terminated": True}
    with pytest.raises(InvalidRequestError, match="shorter"):
        token_form(Request(environ))


def test_a_chunked_body_is_read() -> None:
    assert token_form(chunked(GRANT)).parameters["grant_type"] == "client_credentials"


def test_a_chunked_body_over_the_limit_is_refused_and_not_cut() -> None:
    with pytest.raises(RequestEntityTooLarge):
        token_form(chunked(GRANT + b"&x=" + b"y" * LONGEST_BODY_BYTES))


def test_a_plus_is_a_space_and_a_percent_a_byte() -> None:
    assert form_decoded(b"a+b%2Bc%3A") == "a b+c:"


@pytest.mark.parametrize("text", [b"%", b"%4", b"%xy", b"\xff", b"%ff"])
def test_what_is_not_form_encoded_utf8_is_a_value_error(text: bytes) -> None:
    decode: Callable[[bytes], str] = form_decoded
    with pytest.raises(ValueError, match=r"percent|decode"):
        decode(text)


def test_a_form_shows_no_parameter_in_its_repr() -> None:
    shown = repr(TokenForm({"client_secret": "hidden"}, (), "Basic hidden"))
    assert "hidden" not in shown


VALUES = st.text(min_size=1, max_size=20)
FORM_NAMES = st.text(min_size=1).filter(lambda name: name not in {"grant_type", "resource"})


@settings(deadline=None)
@given(
    pairs=st.dictionaries(FORM_NAMES, st.text(min_size=1)), resources=st.lists(st.text(min_size=1))
)
def test_whatever_a_client_encodes_as_a_form_is_what_is_read(
    pairs: dict[str, str], resources: list[str]
) -> None:
    body = urlencode([*pairs.items(), *(("resource", uri) for uri in resources)])
    read = form(GRANT + (f"&{body}" if body else "").encode())
    assert read.parameters == {"grant_type": "client_credentials", **pairs}
    assert read.resources == tuple(resources)


def percent_encoded(text: str) -> str:
    return "".join(f"%{octet:02X}" for octet in text.encode())


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="&=%+"), max_size=20)
PLAIN_NAMES = PLAIN.filter(lambda name: name != "grant_type") | st.just("resource")


@settings(deadline=None)
@given(
    pairs=st.lists(st.tuples(PLAIN_NAMES, PLAIN), unique_by=lambda pair: pair[0]),
    resources=st.lists(PLAIN),
)
def test_a_form_reads_the_same_whether_it_is_percent_encoded_or_not(
    pairs: list[tuple[str, str]], resources: list[str]
) -> None:
    sent = [*pairs, *(("resource", uri) for uri in resources)]
    plain = "".join(f"&{name}={value}" for name, value in sent)
    encoded = "".join(f"&{percent_encoded(name)}={percent_encoded(value)}" for name, value in sent)

    assert form(GRANT + plain.encode()) == form(GRANT + encoded.encode())


@pytest.mark.parametrize(
    "rest",
    [
        "&scope=Read=",
        "&scope==",
        "&=Read",
        "&scope",
        "&scope=",
        "&",
        "&&",
        "&scope=Ré\0",
        "&Scope=a",
    ],
    ids=ascii,
)
def test_a_form_in_which_nothing_is_encoded_reads_as_one_in_which_something_is(rest: str) -> None:
    read = form(GRANT + rest.encode())
    with_more = form(GRANT + rest.encode() + b"&more=%2B")

    assert with_more.parameters == {**read.parameters, "more": "+"}


@pytest.mark.parametrize(
    "octets",
    [b"x=\xff", b"\xff=x", b"x=\xc3", b"x=\xc3&\xa9=x", b"x=\xc0\xaf", b"x=\xed\xa0\x80"],
    ids=["value", "name", "half", "two-halves", "too-long", "surrogate"],
)
@pytest.mark.parametrize("more", [b"", b"&more=%2B"], ids=["plain", "encoded"])
def test_octets_that_are_not_utf_8_are_invalid_request(octets: bytes, more: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="not well-formed UTF-8"):
        form(GRANT + b"&" + octets + more)


@settings(deadline=None)
@given(octets=st.binary() | st.text(alphabet="&=%+;0aF\xff ").map(str.encode))
def test_whatever_octets_a_body_has_it_is_read_or_an_invalid_request(octets: bytes) -> None:
    try:
        read = form(GRANT + b"&" + octets)
    except InvalidRequestError:
        return
    pieces = [one.partition(b"=") for one in octets.split(b"&")]
    names = {form_decoded(name) for name, _, value in pieces if value} - {"resource"}
    assert set(read.parameters) == {"grant_type", *names}
    assert "" not in read.parameters.values()


@settings(deadline=None)
@given(name=FORM_NAMES, first=st.text(min_size=1), second=st.text(min_size=1))
def test_whatever_is_repeated_is_refused(name: str, first: str, second: str) -> None:
    with pytest.raises(InvalidRequestError):
        form(GRANT + b"&" + urlencode([(name, first), (name, second)]).encode())
