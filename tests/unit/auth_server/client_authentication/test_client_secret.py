import base64
from urllib.parse import quote_plus, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth_server.client_authentication.client_secret import (
    ClientSecretCredentials,
    basic_credentials,
    matching_secret,
    post_credentials,
)
from auth_server.registry import LiveSecret, RegisteredClient, secret_hash
from auth_server.scope_policy import ClientRights

NOW = 1000.0


def header(pair: bytes, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(pair).decode()}"


def client(*secrets: LiveSecret) -> RegisteredClient:
    rights = ClientRights({"urn:bank": ("Read",)}, "urn:bank", may_have_id_token=True)
    return RegisteredClient("worker", "client_secret_basic", False, rights, secrets)


def live(secret: str, expires_at: int | None = None) -> LiveSecret:
    return LiveSecret(secret_hash(secret), expires_at)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "Basic "])
def test_the_scheme_has_any_case(scheme: str) -> None:
    assert basic_credentials(header(b"worker:s3cret", scheme)).client_id == "worker"


def test_both_parts_are_form_decoded() -> None:
    read = basic_credentials(header(b"a+b%C3%A9:p%3Aq%2B"))
    assert (read.client_id, read.client_secret) == ("a bé", "p:q+")


@pytest.mark.parametrize(
    "bad",
    ["Basic", "Basic !!!!", "Basic d29ya2Vy", "Basic d29ya2VyOng", "Basic d29ya2VyOnh=",
     "Basic d29y*a2VyOng=", "Basic é", header(b"a:b:c"), header(b"\xff:x"), header(b"a%:x"),
     header(b"a:%ff"), "Basic d29ya2VyOng= x"],
    ids=ascii,
)  # fmt: skip
def test_a_header_that_is_not_well_formed_is_a_value_error(bad: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        basic_credentials(bad)


def test_credentials_in_the_body_without_a_client_id_are_nobodys() -> None:
    assert post_credentials({"client_secret": "x"}).client_id == ""


def test_the_live_secret_that_matches_is_the_one_presented() -> None:
    assert matching_secret(client(live("old"), live("new")), "new", NOW) == live("new")


@pytest.mark.parametrize(
    ("registered", "presented"),
    [(client(live("right")), "wrong"), (client(live("right", expires_at=1000)), "right"),
     (client(), "right"), (None, "right"), (client(live("right")), ""),
     (client(live("right")), "0" * 64)],
    ids=["wrong", "expired", "none", "unknown client", "empty", "the padding itself"],
)  # fmt: skip
def test_no_other_secret_matches(registered: RegisteredClient | None, presented: str) -> None:
    assert matching_secret(registered, presented, NOW) is None


def test_a_secret_matches_until_its_end() -> None:
    ending = live("right", expires_at=1001)
    assert matching_secret(client(ending), "right", NOW) == ending


def test_credentials_show_no_secret_in_their_repr() -> None:
    assert "s3cret" not in repr(ClientSecretCredentials("client_secret_post", "worker", "s3cret"))


@settings(deadline=None)
@given(client_id=st.text(), secret=st.text())
def test_whatever_a_client_encodes_by_the_rfc_is_what_is_read(client_id: str, secret: str) -> None:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    read = basic_credentials(header(pair))
    assert (read.client_id, read.client_secret) == (client_id, secret)


@settings(deadline=None)
@given(client_id=st.binary(), secret=st.binary())
def test_whatever_octets_are_in_a_header_it_is_read_or_a_value_error(
    client_id: bytes, secret: bytes
) -> None:
    try:
        read = basic_credentials(header(client_id + b":" + secret))
    except ValueError:
        return
    assert read.client_id.encode() == unquote_to_bytes(client_id.replace(b"+", b" "))
    assert read.client_secret.encode() == unquote_to_bytes(secret.replace(b"+", b" "))


@settings(deadline=None)
@given(text=st.text() | st.text().map("Basic {}".format))
def test_whatever_text_a_header_is_it_is_read_or_a_value_error(text: str) -> None:
    try:
        read = basic_credentials(text)
    except ValueError:
        return
    assert read.method == "client_secret_basic"


@settings(deadline=None)
@given(secret=st.text(), position=st.integers(min_value=0), strange=st.sampled_from(" \t\n!-_=é"))
def test_a_strange_character_within_right_credentials_is_a_value_error(
    secret: str, position: int, strange: str
) -> None:
    good = header(f"worker:{quote_plus(secret)}".encode()).removeprefix("Basic ")
    at = 1 + position % (len(good) - 1)
    with pytest.raises(ValueError, match=r".+"):
        basic_credentials(f"Basic {good[:at]}{strange}{good[at:]}")
