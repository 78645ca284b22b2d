import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resource_server.models import LARGEST_AMOUNT
from resource_server.payment_order import MalformedOrderError, PaymentOrder, parse_order

MEMBERS: dict[str, Any] = {
    "debit_account_id": "mine",
    "credit_account_id": "theirs",
    "amount": 1250,
    "currency": "EUR",
    "reference": "invoice 7 für Käse",
}


def body(**changes: Any) -> bytes:
    return json.dumps({**MEMBERS, **changes}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in MEMBERS.items() if key != name}).encode()


def test_an_order_is_what_its_members_say() -> None:
    assert parse_order(body()) == PaymentOrder("mine", "theirs", 1250, "EUR", "invoice 7 für Käse")


def test_without_an_account_to_debit_an_order_names_none() -> None:
    assert parse_order(without("debit_account_id")).debit_account_id is None


@pytest.mark.parametrize("amount", [1, LARGEST_AMOUNT])
def test_the_bounds_of_an_amount_are_within_it(amount: int) -> None:
    assert parse_order(body(amount=amount)).amount == amount


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("amount", [0, -1, LARGEST_AMOUNT + 1, 1.0, 1e2, True, "1", None, [1], {}]),
        ("currency", ["eur", "EURO", "EU", "ÉUR", "EUR\n", "", 978, None]),
        ("reference", ["", "x" * 141, "a\0b", "a\nb", "\ud800", 7, None, ["a"]]),
        ("credit_account_id", ["", "a b", "a\0", "x" * 129, "*", 7, None]),
        ("debit_account_id", ["", "a b", "a\0", "x" * 129, "*", 7, None]),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_member_that_is_wrong_is_named(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(MalformedOrderError, match=name):
            parse_order(body(**{name: value}))


@pytest.mark.parametrize("name", ["credit_account_id", "amount", "currency", "reference"])
def test_a_member_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(MalformedOrderError, match=name):
        parse_order(without(name))


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="list"),
        pytest.param(body()[:-1], id="cut-off"),
        pytest.param(body() + b"{}", id="two-documents"),
        pytest.param(body()[:-1] + b', "amount": 1}', id="a-member-twice"),
        pytest.param(body().replace(b"1250", b"NaN"), id="nan"),
        pytest.param(body().replace(b"1250", b"-Infinity"), id="infinity"),
        pytest.param(body().replace(b"1250", b"9" * 5000), id="digits-without-end"),
        pytest.param(body().replace(b"1250", b"1e999999"), id="exponent-without-end"),
        pytest.param(b"[" * 60_000, id="nested-lists"),
        pytest.param(b'{"amount":' * 6_000, id="nested-objects"),
        pytest.param(json.dumps(MEMBERS).encode("utf-16"), id="utf-16"),
        pytest.param(b"\xef\xbb\xbf" + body(), id="byte-order-mark"),
        pytest.param(body().replace(b"mine", b"\xff"), id="broken-utf-8"),
        pytest.param(body(debit_account="mine"), id="unknown-member"),
        pytest.param(body(**{"": 1}), id="member-without-a-name"),
    ],
)
def test_a_hostile_body_is_no_order(hostile: bytes) -> None:
    with pytest.raises(MalformedOrderError):
        parse_order(hostile)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, json_values)))
def test_whatever_a_body_holds_it_is_an_order_or_malformed(members: dict[str, Any]) -> None:
    try:
        order = parse_order(json.dumps({**MEMBERS, **members}).encode())
    except MalformedOrderError:
        return
    assert 1 <= order.amount <= LARGEST_AMOUNT
    assert order.reference.isprintable()


def test_the_digest_is_of_what_is_asked_for_and_not_of_its_spelling() -> None:
    spelt = json.dumps(dict(reversed(MEMBERS.items())), indent=3, ensure_ascii=False).encode()

    assert parse_order(spelt).digest() == parse_order(body()).digest()


@pytest.mark.parametrize(
    "other",
    [
        body(amount=1251),
        body(reference="x"),
        body(debit_account_id="x"),
        without("debit_account_id"),
    ],
    ids=["amount", "reference", "another-account", "default-account"],
)
def test_what_is_another_payment_has_another_digest(other: bytes) -> None:
    assert parse_order(other).digest() != parse_order(body()).digest()
