from typing import Any

import pytest

from client_service.bank_answers import Account, BankError, account_in, content_in, page_in

ACCOUNT = {"account_id": "a", "currency": "EUR", "balance": 5, "as_of": 1, "transactions": "/t"}


@pytest.mark.parametrize(
    ("status", "challenge", "code"),
    [
        (401, 'Bearer realm="bank", error="invalid_token", error_description="x"', "invalid_token"),
        (403, 'bearer error="insufficient_scope", scope="Read"', "insufficient_scope"),
        (401, 'Bearer realm="bank"', "Unauthorized"),
        (401, 'Basic realm="x", error="invalid_token"', "Unauthorized"),
        (404, "", "Not Found"),
        (599, "", "unknown status"),
    ],
    ids=["token", "scope", "no code", "other scheme", "no challenge", "odd status"],
)
def test_a_refusal_has_the_code_of_the_challenge_or_the_name_of_its_status(
    status: int, challenge: str, code: str
) -> None:
    with pytest.raises(BankError) as caught:
        content_in(status, {"WWW-Authenticate": challenge}, b"")

    assert (caught.value.status, caught.value.code) == (status, code)


def test_the_text_of_a_problem_is_kept() -> None:
    with pytest.raises(BankError, match="503 Service Unavailable: the ledger is away"):
        content_in(503, {}, b'{"title": "x", "detail": "the ledger is away"}')


def test_a_200_without_a_json_object_is_no_content() -> None:
    with pytest.raises(BankError, match="no JSON object"):
        content_in(200, {}, b"<html>")


def test_an_account_is_read_from_its_members() -> None:
    assert account_in({**ACCOUNT, "owner": "ignored"}) == Account("a", "EUR", 5, 1, "/t")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("balance", 1.5),
        ("balance", True),
        ("balance", "5"),
        ("balance", 2**63),
        ("as_of", None),
        ("account_id", ""),
        ("account_id", "a\x00b"),
        ("account_id", "x" * 2001),
        ("currency", 3),
        ("transactions", None),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_an_account_with_a_member_of_another_kind_is_refused(member: str, value: object) -> None:
    with pytest.raises(BankError, match=f"`{member}`"):
        account_in({**ACCOUNT, member: value})


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"transactions": "x"},
        {"transactions": [1]},
        {"transactions": [{"sequence": 1}]},
        {"transactions": [], "next": 5},
    ],
    ids=str,
)
def test_a_page_that_is_none_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(BankError):
        page_in(answer)
