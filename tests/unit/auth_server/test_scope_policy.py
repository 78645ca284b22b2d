from collections.abc import Sequence

import pytest
from authlib.oauth2 import OAuth2Error

from auth_server.scope_policy import (
    ClientRights,
    Granted,
    grant,
    is_resource_identifier,
    is_scope_token,
)

BANK, LEDGER = "http://localhost:9001", "https://ledger.example"
RIGHTS = ClientRights({BANK: ("Read", "Write"), LEDGER: ("Append",)}, BANK, may_have_id_token=True)


def granted(scope: str | None, *resources: str, id_tokens: bool = True) -> Granted:
    return grant(RIGHTS, scope, resources, id_tokens=id_tokens)


def refused_with(
    scope: str | None,
    resources: Sequence[str] = (),
    rights: ClientRights = RIGHTS,
    id_tokens: bool = True,
) -> str:
    with pytest.raises(OAuth2Error) as refused:
        grant(rights, scope, resources, id_tokens=id_tokens)
    return str(refused.value.error)


def test_without_a_scope_all_api_scopes_are_granted_and_openid_is_not() -> None:
    assert granted(None).scope == "Read Write"


def test_openid_alone_brings_all_api_scopes_and_stands_first() -> None:
    assert granted("openid").scope == "openid Read Write"


def test_the_scope_for_the_api_leaves_openid_out() -> None:
    assert granted("openid").api_scope == "Read Write"


def test_a_named_api_scope_is_granted_alone() -> None:
    assert granted("Write").scope == "Write"


def test_scopes_come_in_the_order_of_the_resource_whatever_was_asked() -> None:
    assert granted("Write openid Read Write").scope == "openid Read Write"


def test_without_a_resource_the_default_one_is_the_audience() -> None:
    assert granted(None).resource == BANK


def test_a_resource_that_was_named_is_the_audience_and_brings_its_own_scopes() -> None:
    assert granted(None, LEDGER) == Granted(LEDGER, ("Append",), openid=False)


@pytest.mark.parametrize(
    "scope",
    ["Admin", "read", "Read Admin", "Append", " ", "Read ", " Read", "Read  Write", '"', "\\",
     "Read\tWrite", "\x00", "é", "x" * 129],
    ids=ascii,
)  # fmt: skip
def test_a_scope_that_is_malformed_or_not_the_clients_is_invalid_scope(scope: str) -> None:
    assert refused_with(scope) == "invalid_scope"


def test_openid_for_a_client_that_may_have_no_id_token_is_invalid_scope() -> None:
    rights = ClientRights({BANK: ("Read",)}, BANK, may_have_id_token=False)
    assert refused_with("openid Read", rights=rights) == "invalid_scope"


def test_openid_where_id_tokens_are_switched_off_is_invalid_scope() -> None:
    assert refused_with("openid", id_tokens=False) == "invalid_scope"


@pytest.mark.parametrize(
    "resources",
    [[BANK, LEDGER], [BANK, BANK], ["https://unknown.example"], [BANK + "/"], [BANK + "#part"],
     ["bank"], ["//localhost:9001"], ["http://a b"], ["\x00"], ["x" * 600]],
    ids=lambda resources: ascii(resources)[:40],
)  # fmt: skip
def test_a_resource_that_is_unknown_malformed_or_a_second_is_invalid_target(
    resources: list[str],
) -> None:
    assert refused_with(None, resources) == "invalid_target"


@pytest.mark.parametrize("uri", [BANK, "urn:example:bank", "https://a/%20?q=1"])
def test_an_absolute_uri_without_fragment_is_a_resource_identifier(uri: str) -> None:
    assert is_resource_identifier(uri) is True


@pytest.mark.parametrize("text", ["", "a b", 'a"b', "é"], ids=ascii)
def test_a_text_outside_the_grammar_is_no_scope(text: str) -> None:
    assert is_scope_token(text) is False
