from collections.abc import Sequence

import pytest
from authlib.oauth2 import OAuth2Error
from hypothesis import assume, given
from hypothesis import strategies as st

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


def test_a_client_without_a_default_resource_has_to_name_one() -> None:
    rights = ClientRights({LEDGER: ("Append",)}, None, may_have_id_token=True)
    assert refused_with(None, rights=rights) == "invalid_target"
    assert grant(rights, None, [LEDGER], id_tokens=True).resource == LEDGER


SCOPE_NAMES = st.sampled_from(["Read", "Write", "Append", "Admin", "read", "openid"])
API_SCOPES = st.lists(SCOPE_NAMES.filter(lambda name: name != "openid"), min_size=1, unique=True)
RESOURCES = st.sampled_from([BANK, LEDGER, "urn:example:third"])
ASKED_SCOPES = st.none() | st.lists(SCOPE_NAMES, min_size=1).map(" ".join) | st.text(max_size=40)
ASKED_RESOURCES = st.lists(RESOURCES | st.text(max_size=40), max_size=2)


@st.composite
def some_rights(draw: st.DrawFn) -> ClientRights:
    scopes = draw(st.dictionaries(RESOURCES, API_SCOPES.map(tuple), min_size=1))
    default = draw(st.none() | st.sampled_from(sorted(scopes)))
    return ClientRights(scopes, default, may_have_id_token=draw(st.booleans()))


def judged(
    rights: ClientRights, scope: str | None, resources: list[str], *, id_tokens: bool
) -> Granted | str:
    """Return what is granted, or the error code; anything else that is raised fails the test."""
    try:
        return grant(rights, scope, resources, id_tokens=id_tokens)
    except OAuth2Error as error:
        return str(error.error)


@given(some_rights(), ASKED_SCOPES, ASKED_RESOURCES, st.booleans())
def test_whatever_is_asked_for_a_client_gets_no_more_than_its_rights_or_a_known_error(
    rights: ClientRights, scope: str | None, resources: list[str], id_tokens: bool
) -> None:
    got = judged(rights, scope, resources, id_tokens=id_tokens)
    if isinstance(got, str):
        assert got in {"invalid_scope", "invalid_target"}
        return
    assert got.resource == (resources[0] if resources else rights.default_resource)
    assert len(resources) <= 1
    assert set(got.api_scopes) <= set(rights.scopes[got.resource])
    assert got.openid <= (id_tokens and rights.may_have_id_token)


@given(some_rights(), st.lists(SCOPE_NAMES, min_size=1), RESOURCES)
def test_api_scopes_that_are_named_are_granted_all_and_alone_or_none_is(
    rights: ClientRights, names: list[str], resource: str
) -> None:
    assume(resource in rights.scopes and set(names) != {"openid"})
    got = judged(rights, " ".join(names), [resource], id_tokens=True)
    allowed = set(rights.scopes[resource]) | ({"openid"} if rights.may_have_id_token else set())
    if set(names) <= allowed:
        assert isinstance(got, Granted)
        assert set(got.scope.split(" ")) == set(names)
    else:
        assert got == "invalid_scope"


@given(some_rights(), ASKED_SCOPES, RESOURCES, st.booleans())
def test_whoever_asks_for_what_was_granted_is_granted_the_same(
    rights: ClientRights, scope: str | None, resource: str, id_tokens: bool
) -> None:
    got = judged(rights, scope, [resource], id_tokens=id_tokens)
    if isinstance(got, Granted):
        assert grant(rights, got.scope, [got.resource], id_tokens=id_tokens) == got


@given(some_rights(), st.permutations(["Read", "Write", "openid"]))
def test_the_order_in_which_scopes_are_asked_for_changes_nothing(
    rights: ClientRights, names: list[str]
) -> None:
    in_one_order = judged(rights, "Read Write openid", [], id_tokens=True)
    assert judged(rights, " ".join(names), [], id_tokens=True) == in_one_order
