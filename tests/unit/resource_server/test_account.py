from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import delete
from werkzeug.test import TestResponse

from resource_server.ledger import post_transfer
from resource_server.models import EVERY_CLIENT, Account, AccountAccess
from shared.database import Database
from tests.stack.issuer import OwnIssuer

Get = Callable[..., TestResponse]

PAGES = "/accounts/demo-account/transactions"
PATHS = ["/account", "/accounts", "/accounts/demo-account", PAGES, f"{PAGES}?limit=1"]


@pytest.fixture
def private_account(database: Database) -> str:
    """An account of the client `owner` alone, and its default."""
    with database.writing() as session:
        session.add(Account(id="private", owner="Somebody", currency="EUR"))
        session.flush()
        session.add(AccountAccess(client_id="owner", account_id="private", is_default=True))
    return "private"


def test_the_account_tells_its_balance_and_up_to_which_transaction_it_counts(get: Get) -> None:
    answer = get("/account")

    assert answer.status_code == 200
    assert answer.json == {
        "account_id": "demo-account",
        "owner": "Example Trading Ltd",
        "currency": "EUR",
        "balance": 2_002_197,
        "as_of": 365,
        "transactions": f"{PAGES}?until=365",
    }


@pytest.mark.parametrize("path", PATHS)
def test_no_cache_but_the_clients_own_keeps_an_answer_and_it_asks_before_each_use(
    path: str, get: Get
) -> None:
    assert get(path).headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("weak", ["", "W/"], ids=["strong", "weak"])
def test_who_has_an_answer_already_is_told_so_and_no_more(path: str, weak: str, get: Get) -> None:
    tag = get(path).headers["ETag"]
    again = get(path, headers={"If-None-Match": f'"another", {weak}{tag}'})

    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert again.headers["Cache-Control"] == "private, no-cache"


def test_after_a_transfer_the_account_has_another_tag_and_a_full_page_the_same(
    get: Get, database: Database
) -> None:
    paths = ["/account", "/accounts", f"{PAGES}?limit=100&until=365"]
    before = [get(path).headers["ETag"] for path in paths]
    with database.writing() as session:
        post_transfer(
            session,
            debit_account_id="demo-account",
            credit_account_id="demo-counterparty",
            amount=1,
            currency="EUR",
            reference="a cent",
            booked_at=datetime(2026, 3, 1, tzinfo=UTC),
        )
    after = [get(p, headers={"If-None-Match": b}) for p, b in zip(paths, before, strict=True)]

    assert [answer.status_code for answer in after] == [200, 200, 304]


def test_nobody_is_told_304_without_a_good_token(bank: Callable[..., Flask]) -> None:
    answer = bank().test_client().get("/account", headers={"If-None-Match": "*"})

    assert answer.status_code == 401


@pytest.mark.parametrize("tag", ['"another"', '"a", W/"b"'])
def test_a_precondition_that_does_not_hold_is_answered_412(tag: str, get: Get) -> None:
    answer = get("/account", headers={"If-Match": tag})

    assert (answer.status_code, answer.mimetype) == (412, "application/problem+json")


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match", "If-Modified-Since", "Range"])
@pytest.mark.parametrize(
    "value", ["", '"', "W/", "*,*", "\xff", "bytes=0-1", "x" * 5000], ids=ascii
)
def test_a_hostile_condition_is_no_error_of_the_bank(header: str, value: str, get: Get) -> None:
    assert get("/account", headers={header: value}).status_code in {200, 304, 412}


def test_the_accounts_are_those_that_the_client_sees(private_account: str, get: Get) -> None:
    def accounts(client_id: str) -> list[str]:
        listed = get("/accounts", client_id=client_id).get_json()["accounts"]
        return [account["account_id"] for account in listed]

    assert accounts("owner") == ["demo-account", private_account]
    assert accounts("other") == ["demo-account"]


def test_an_account_in_the_list_is_as_it_is_alone(get: Get) -> None:
    assert get("/accounts").get_json() == {"accounts": [get("/account").get_json()], "next": None}


def test_the_pages_of_accounts_are_linked_to_the_end(database: Database, get: Get) -> None:
    ids = [f"of-many-{number}" for number in range(5)]
    with database.writing() as session:
        session.add_all(Account(id=one, owner="Many", currency="EUR") for one in ids)
        session.flush()
        session.add_all(AccountAccess(client_id="many", account_id=one) for one in ids)
    link: str | None = "/accounts?limit=2"
    seen, sizes = [], []
    while link:
        answer = get(link, client_id="many")
        page = answer.get_json()
        seen += [account["account_id"] for account in page["accounts"]]
        sizes.append(len(page["accounts"]))
        link = page["next"]
        assert answer.headers.get("Link") == (f'<{link}>; rel="next"' if link else None)

    assert (seen, sizes) == (["demo-account", *ids], [2, 2, 2])


@pytest.mark.parametrize(
    "query", ["after=%00", "after=a+b", "after=a&after=b", "limit=0", "limit=501"]
)
def test_a_hostile_parameter_of_the_list_is_answered_400(query: str, get: Get) -> None:
    assert get(f"/accounts?{query}").status_code == 400


def test_an_account_is_read_by_its_id_too(get: Get) -> None:
    assert get("/accounts/demo-account").json == get("/account").json


def test_the_pages_from_the_link_to_the_end_add_up_to_the_balance(get: Get) -> None:
    account = get("/account").get_json()
    link, seen = account["transactions"], []
    while link:
        page = get(link).get_json()
        seen += page["transactions"]
        link = page["next"]

    assert [entry["sequence"] for entry in seen] == list(range(1, account["as_of"] + 1))
    assert sum(entry["amount"] for entry in seen) == account["balance"]


def test_a_page_holds_what_was_asked_for_and_links_to_the_next(get: Get) -> None:
    answer = get(f"{PAGES}?after=1&limit=2&until=10")
    page = answer.get_json()

    assert page["transactions"] == [
        {
            "sequence": 2,
            "amount": -95_000,
            "counterparty": "demo-counterparty",
            "reference": "rent",
            "booked_at": "2025-01-02T09:00:00+00:00",
        },
        {
            "sequence": 3,
            "amount": -2_838,
            "counterparty": "demo-counterparty",
            "reference": "supplies 002",
            "booked_at": "2025-01-03T09:00:00+00:00",
        },
    ]
    assert page["next"] == f"{PAGES}?after=3&limit=2&until=10"
    assert answer.headers["Link"] == f'<{PAGES}?after=3&limit=2&until=10>; rel="next"'


@pytest.mark.parametrize(
    ("query", "sequences"),
    [
        pytest.param("after=363", [364, 365], id="the-end"),
        pytest.param("after=365", [], id="after-the-end"),
        pytest.param("after=999999999999999999", [], id="far-after-the-end"),
        pytest.param("until=2", [1, 2], id="until"),
        pytest.param("until=0", [], id="until-nothing"),
        pytest.param("after=5&until=3", [], id="until-before-after"),
        pytest.param("after=3&until=4&limit=1", [4], id="exactly-one"),
        pytest.param("after=364&unknown=x", [365], id="unknown-parameter"),
    ],
)
def test_a_last_page_has_no_next(query: str, sequences: list[int], get: Get) -> None:
    answer = get(f"{PAGES}?{query}")
    page = answer.get_json()

    assert [entry["sequence"] for entry in page["transactions"]] == sequences
    assert page["next"] is None
    assert "Link" not in answer.headers


def test_the_longest_page_has_500_transactions(get: Get) -> None:
    assert len(get(f"{PAGES}?limit=500").get_json()["transactions"]) == 365


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=",
        "limit=1&limit=1",
        "after=-1",
        "after=+1",
        "after=%2B1",
        "after=1.0",
        "after=1e3",
        "after=1_0",
        "after=%00",
        "after=1%00",
        "after=%FF",
        "after=%D9%A1",
        "after=%C2%B2",
        "until=1000000000000000000",
        "until=" + "9" * 5000,
    ],
)
def test_a_hostile_parameter_is_answered_400(query: str, get: Get) -> None:
    answer = get(f"{PAGES}?{query}")

    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")


@pytest.mark.parametrize(
    "account_id",
    ["demo%00", "demo-account%00", "%FF%FE", "a" * 3000, "%F0%9F%8F%A6", "'--", "1;DROP", "*"],
)
@pytest.mark.parametrize("tail", ["", "/transactions"], ids=["account", "transactions"])
def test_a_hostile_id_is_answered_404(account_id: str, tail: str, get: Get) -> None:
    answer = get(f"/accounts/{account_id}{tail}")

    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


@pytest.mark.parametrize("tail", ["", "/transactions"], ids=["account", "transactions"])
def test_somebody_elses_account_answers_like_one_that_does_not_exist(
    tail: str, private_account: str, get: Get
) -> None:
    theirs = get(f"/accounts/{private_account}{tail}")
    nobodys = get(f"/accounts/nobodys{tail}")

    assert theirs.status_code == 404
    assert (theirs.data, list(theirs.headers)) == (nobodys.data, list(nobodys.headers))


def test_a_clients_own_default_wins_over_everybodys(private_account: str, get: Get) -> None:
    assert get("/account", client_id="owner").get_json()["account_id"] == private_account
    assert get("/account", client_id="other").get_json()["account_id"] == "demo-account"


def test_a_client_with_an_account_of_its_own_sees_everybodys_too(
    private_account: str, get: Get
) -> None:
    assert get("/accounts/demo-account", client_id="owner").status_code == 200


def test_a_client_without_an_account_gets_404(database: Database, get: Get) -> None:
    with database.writing() as session:
        session.execute(delete(AccountAccess).where(AccountAccess.client_id == EVERY_CLIENT))

    answer = get("/account")

    assert (answer.status_code, answer.get_json(force=True)["detail"]) == (
        404,
        "this client has no such account",
    )


@pytest.mark.parametrize("client_id", ["über-client", "a b", "' OR 1=1 --", "x" * 3000], ids=ascii)
def test_a_foreign_looking_client_id_is_a_client_like_others(client_id: str, get: Get) -> None:
    assert get("/account", client_id=client_id).status_code == 200


@pytest.mark.parametrize("path", ["/account", "/accounts/demo-account", PAGES])
def test_write_alone_does_not_read(path: str, get: Get) -> None:
    assert get(path, scope="Write").status_code == 403


def test_every_answer_of_the_bank_passes_arrow_5_once(
    get: Get, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shared.arrows")
    get("/account")
    get(f"{PAGES}?limit=2")
    get("/account", headers={"If-None-Match": "*"})

    events = [record.event for record in caplog.records if record.name == "shared.arrows"]  # type: ignore[attr-defined]
    assert [(event["arrow"], event["status"]) for event in events] == [(5, 200), (5, 200), (5, 304)]
    assert events[0]["parameters"] == {
        "account_id": "demo-account",
        "owner": "Example Trading Ltd",
        "currency": "EUR",
        "balance": "2002197",
        "as_of": "365",
        "transactions": f"{PAGES}?until=365",
    }
    assert events[1]["parameters"]["transactions"] == "2"


def test_every_route_requires_a_token_but_health_and_metadata(bank: Callable[..., Flask]) -> None:
    app = bank()
    scopes = {
        rule.rule: getattr(app.view_functions[rule.endpoint], "required_scope", None)
        for rule in app.url_map.iter_rules()
    }

    assert scopes == {
        "/livez": None,
        "/readyz": None,
        "/.well-known/oauth-protected-resource": None,
        "/openapi.yaml": None,
        "/payments": "Write",
        "/payments/<payment_id>": "Read",
        "/account": "Read",
        "/accounts": "Read",
        "/accounts/<account_id>": "Read",
        "/accounts/<account_id>/transactions": "Read",
    }


def test_a_link_has_no_host_that_a_token_could_follow(
    bank: Callable[..., Flask], issuer: OwnIssuer
) -> None:
    headers = {"Authorization": f"Bearer {issuer.token()}", "Host": "localhost:1234"}
    answer = bank().test_client().get("/account", headers=headers)

    assert answer.get_json()["transactions"] == f"{PAGES}?until=365"
