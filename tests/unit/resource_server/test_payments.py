import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask, Response
from sqlalchemy import delete, func, select
from werkzeug.test import TestResponse

from resource_server.app import create_app
from resource_server.ledger_check import BookCheck
from resource_server.models import Account, AccountAccess, Payment
from resource_server.payments import EXTENSION
from resource_server.settings import ResourceServerSettings
from shared.database import Database
from tests.stack.issuer import OwnIssuer

Ask = Callable[..., TestResponse]
Pay = Callable[..., TestResponse]

ORDER: dict[str, Any] = {
    "credit_account_id": "demo-counterparty",
    "amount": 1250,
    "currency": "EUR",
    "reference": "invoice 7",
}
BALANCE = 2_002_197
TAG = "tag:bank.example,2026:"


@pytest.fixture
def pay(ask: Ask) -> Pay:
    """Pay with a good token: `pay(key=…, client_id=…, MEMBER=…)`."""

    def pay(
        *,
        key: str | None = '"k"',
        body: bytes | None = None,
        client_id: str = "own-client",
        scope: str = "Write",
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> TestResponse:
        sent = {"Content-Type": media_type, **(headers or {})}
        if key is not None:
            sent["Idempotency-Key"] = key
        data = json.dumps({**ORDER, **members}).encode() if body is None else body
        options = {"client_id": client_id, "scope": scope, "headers": sent, "data": data}
        return ask("POST", "/payments", **options)

    return pay


@pytest.fixture
def others(database: Database) -> None:
    """Accounts that `own-client` does not see: one in euros, one in dollars, one of `owner`."""
    with database.writing() as session:
        session.add(Account(id="elsewhere", owner="E", currency="EUR"))
        session.add(Account(id="dollars", owner="D", currency="USD"))
        session.add(Account(id="private", owner="P", currency="EUR"))
        session.flush()
        session.add(AccountAccess(client_id="owner", account_id="private", is_default=True))


def summary(answer: TestResponse) -> tuple[int, str]:
    """Return the status and the problem's type, without what all types begin with."""
    return answer.status_code, answer.get_json(force=True)["type"].removeprefix(TAG)


def standing(database: Database) -> tuple[int, int, int]:
    """Return the demo account's balance and last number, and how many payments there are."""
    with database.reading() as session:
        account = session.get_one(Account, "demo-account")
        payments = session.scalar(select(func.count()).select_from(Payment))
        assert list(BookCheck(session).findings()) == []
        return account.balance, account.last_sequence, payments or 0


def test_a_payment_is_booked_and_told(pay: Pay, database: Database) -> None:
    answer = pay()
    payment = answer.get_json()

    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/payments/{payment['payment_id']}"
    assert {name: payment[name] for name in ORDER} == ORDER
    assert (payment["debit_account_id"], payment["sequence"]) == ("demo-account", 366)
    assert standing(database) == (BALANCE - 1250, 366, 1)


def test_a_payment_is_read_where_its_location_says(pay: Pay, ask: Ask) -> None:
    made = pay()
    read = ask("GET", made.headers["Location"], scope="Read")

    assert (read.status_code, read.data) == (200, made.data)
    assert read.headers["ETag"] == made.headers["ETag"]


def test_a_payment_is_a_transaction_of_its_account(pay: Pay, ask: Ask) -> None:
    payment = pay().get_json()
    page = ask("GET", "/accounts/demo-account/transactions?after=365", scope="Read").get_json()

    assert page["transactions"] == [
        {
            "sequence": payment["sequence"],
            "amount": -1250,
            "counterparty": "demo-counterparty",
            "reference": "invoice 7",
            "booked_at": payment["booked_at"],
        }
    ]


def test_an_account_to_debit_can_be_named(pay: Pay, others: None, database: Database) -> None:
    named = pay(client_id="owner", debit_account_id="demo-account")
    default = pay(client_id="owner", key="l")

    assert named.get_json()["debit_account_id"] == "demo-account"
    assert default.get_json()["debit_account_id"] == "private"


@pytest.mark.parametrize("again", ['"k"', "k", ' "k" '], ids=["quoted", "bare", "with-spaces"])
def test_the_same_key_and_body_get_the_same_answer_and_move_no_money(
    again: str, pay: Pay, database: Database
) -> None:
    first, second = pay(key='"k"'), pay(key=again)

    assert (second.status_code, second.data) == (first.status_code, first.data)
    assert second.headers["Location"] == first.headers["Location"]
    assert standing(database) == (BALANCE - 1250, 366, 1)


def test_the_same_body_spelt_in_another_way_is_the_same(pay: Pay) -> None:
    spelt = json.dumps(dict(reversed(ORDER.items())), indent=2).encode()

    assert pay(body=spelt).data == pay().data


def test_the_same_key_with_another_body_is_refused(pay: Pay, database: Database) -> None:
    pay()

    assert summary(pay(amount=1251)) == (422, "idempotency-key-reused")
    assert standing(database) == (BALANCE - 1250, 366, 1)


def test_a_key_belongs_to_its_client(pay: Pay, database: Database) -> None:
    one, other = pay(), pay(client_id="another-client")

    assert (one.status_code, other.status_code) == (201, 201)
    assert one.get_json()["payment_id"] != other.get_json()["payment_id"]


def test_a_refusal_is_remembered_too_so_no_late_copy_is_booked(
    pay: Pay, database: Database
) -> None:
    refused = pay(amount=BALANCE + 1)
    with database.writing() as session:
        session.get_one(Account, "demo-account").lowest_balance = None
    again, with_a_new_key = pay(amount=BALANCE + 1), pay(key="new", amount=BALANCE + 1)

    assert summary(refused) == (409, "insufficient-funds")
    assert (again.status_code, again.data) == (409, refused.data)
    assert with_a_new_key.status_code == 201


def test_a_malformed_order_leaves_its_key_unused(pay: Pay) -> None:
    assert [pay(amount=0).status_code, pay().status_code] == [400, 201]


def test_whose_access_was_taken_still_gets_the_answer_it_has_not_heard(
    pay: Pay, ask: Ask, database: Database
) -> None:
    made = pay()
    with database.writing() as session:
        session.execute(delete(AccountAccess))

    assert (pay().data, ask("GET", made.headers["Location"], scope="Read").data) == (
        made.data,
        made.data,
    )
    assert summary(pay(key="l")) == (422, "no-such-account")


def test_the_last_cent_can_be_paid_and_no_more(pay: Pay, database: Database) -> None:
    assert pay(amount=BALANCE).status_code == 201
    assert summary(pay(key="l", amount=1)) == (409, "insufficient-funds")
    assert standing(database) == (0, 366, 1)


def test_somebody_elses_account_cannot_be_debited_and_looks_like_none(
    pay: Pay, others: None, database: Database
) -> None:
    theirs = pay(key="a", debit_account_id="private")
    nobodys = pay(key="b", debit_account_id="nobodys")

    assert summary(theirs) == (422, "no-such-account")
    assert (theirs.data, list(theirs.headers)) == (nobodys.data, list(nobodys.headers))


def test_a_client_without_an_account_can_debit_none(pay: Pay, database: Database) -> None:
    with database.writing() as session:
        session.execute(delete(AccountAccess))

    assert summary(pay()) == (422, "no-such-account")


def test_another_currency_is_refused(pay: Pay, database: Database) -> None:
    assert summary(pay(currency="USD")) == (422, "currency-mismatch")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(1, (422, "not-creditable")), (BALANCE + 1, (409, "insufficient-funds"))],
    ids=["who-can-pay", "who-cannot"],
)
def test_why_an_account_is_not_credited_is_not_told(
    amount: int, expected: tuple[int, str], pay: Pay, others: None
) -> None:
    answers = [
        pay(key=to, credit_account_id=to, amount=amount)
        for to in ("dollars", "nobodys", "demo-account")
    ]

    assert [summary(answer) for answer in answers] == [expected] * 3
    assert len({answer.data for answer in answers}) == 1


@pytest.mark.parametrize("path", ["nothing", "%00", "a" * 3000, "%FF", "'--"])
def test_a_payment_that_is_not_there_is_answered_404(path: str, ask: Ask) -> None:
    answer = ask("GET", f"/payments/{path}", scope="Read")

    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


def test_somebody_elses_payment_answers_like_one_that_does_not_exist(pay: Pay, ask: Ask) -> None:
    made = pay().headers["Location"]
    theirs = ask("GET", made, scope="Read", client_id="another-client")
    nobodys = ask("GET", f"/payments/{'0' * 32}", scope="Read", client_id="another-client")

    assert (theirs.status_code, theirs.data) == (404, nobodys.data)


@pytest.mark.parametrize("key", [None, "", '"', "a b", "x" * 256], ids=ascii)
def test_without_a_key_nothing_is_paid(key: str | None, pay: Pay, database: Database) -> None:
    assert summary(pay(key=key)) == (400, "idempotency-key-needed")
    assert standing(database) == (BALANCE, 365, 0)


@pytest.mark.parametrize(
    ("media_type", "headers", "told"),
    [
        pytest.param("text/plain", {}, ("Accept", "application/json"), id="text"),
        pytest.param("", {}, ("Accept", "application/json"), id="no-type"),
        pytest.param("application/jsonp", {}, ("Accept", "application/json"), id="almost"),
        pytest.param(
            "application/json",
            {"Content-Encoding": "gzip"},
            ("Accept-Encoding", "identity"),
            id="compressed",
        ),
    ],
)
def test_what_is_no_plain_json_is_answered_415(
    media_type: str, headers: Mapping[str, str], told: tuple[str, str], pay: Pay
) -> None:
    answer = pay(media_type=media_type, headers=headers)

    assert (answer.status_code, answer.mimetype) == (415, "application/problem+json")
    assert answer.headers[told[0]] == told[1]


def test_the_media_type_may_name_its_charset(pay: Pay) -> None:
    assert pay(media_type="Application/JSON; charset=utf-8").status_code == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"[" * 60_000, 400), (b"x" * 70_000, 413), (b"", 400)],
    ids=["deep", "long", "empty"],
)
def test_a_hostile_body_is_refused(body: bytes, status: int, pay: Pay) -> None:
    answer = pay(body=body)

    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")


@pytest.mark.parametrize("tag", ["*", '"another"'])
def test_a_payment_that_must_be_there_already_is_not_made(
    tag: str, pay: Pay, database: Database
) -> None:
    answer = pay(headers={"If-Match": tag})

    assert (answer.status_code, answer.mimetype) == (412, "application/problem+json")
    assert standing(database) == (BALANCE, 365, 0)
    assert pay().status_code == 201


def test_read_alone_does_not_pay_and_write_alone_does_not_read(pay: Pay, ask: Ask) -> None:
    location = pay().headers["Location"]

    assert pay(scope="Read", key="l").status_code == 403
    assert ask("GET", location, scope="Write").status_code == 403


@pytest.mark.parametrize("client_id", ["über-client", "' OR 1=1 --", "x" * 3000], ids=ascii)
def test_a_foreign_looking_client_pays_like_others(client_id: str, pay: Pay, ask: Ask) -> None:
    answer = pay(client_id=client_id)
    read = ask("GET", answer.headers["Location"], scope="Read", client_id=client_id)

    assert (answer.status_code, read.data) == (201, answer.data)


def test_a_payment_passes_arrow_5_and_a_refused_one_is_told_as_refused(
    pay: Pay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shared.arrows")
    pay()
    pay(key="l", amount=BALANCE)

    events = [record.event for record in caplog.records if record.name == "shared.arrows"]  # type: ignore[attr-defined]
    assert [(event["outcome"], event["status"]) for event in events] == [
        ("passed", 201),
        ("refused", 409),
    ]
    assert events[1]["error"] == f"{TAG}insufficient-funds"


def test_the_setting_says_how_long_a_key_is_kept(bank: Callable[..., Flask]) -> None:
    teller = bank(idempotency_key_hours=2).extensions[EXTENSION]

    assert teller.keys_are_kept.total_seconds() == 7200


def test_a_bank_killed_between_booking_and_answering_answers_when_it_is_asked_again(
    pay: Pay, database: Database, issuer: OwnIssuer
) -> None:
    context = multiprocessing.get_context("spawn")
    url = database.engine.url.render_as_string()
    dying = context.Process(target=pay_and_die, args=(url, issuer.url, issuer.token()))
    dying.start()
    dying.join(60)

    booked = standing(database)
    answer = pay()

    assert dying.exitcode == -signal.SIGKILL
    assert booked == standing(database) == (BALANCE - 1250, 366, 1)
    assert (answer.status_code, answer.get_json()["sequence"]) == (201, 366)


def pay_and_die(database_url: str, issuer: str, token: str) -> None:
    """Pay at a bank that is killed when it has booked and is about to answer."""
    app = create_app(
        ResourceServerSettings(database_url=database_url, issuer=issuer, transport="plain-http")
    )

    @app.after_request
    def die(_response: Response) -> Response:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": '"k"'}
    app.test_client().post("/payments", json=ORDER, headers=headers)
