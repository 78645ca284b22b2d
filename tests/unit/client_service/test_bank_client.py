import logging
from collections.abc import Callable

import pytest
import requests

from client_service.bank_answers import BankError
from client_service.bank_client import BankClient
from client_service.token_source import TokenSource
from tests.stack.loopback import LoopbackServer, Reply

INVALID_TOKEN = Reply(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
ACCOUNT = Reply(
    document={
        "account_id": "acc-1",
        "currency": "EUR",
        "balance": 5,
        "as_of": 1,
        "transactions": "/transactions",
    }
)
EMPTY_PAGE = Reply(document={"transactions": [], "next": None})


def granted(token: str) -> Reply:
    return Reply(document={"access_token": token, "token_type": "Bearer", "expires_in": 300})


@pytest.fixture
def bank(
    server: LoopbackServer, session: requests.Session, tokens: Callable[..., TokenSource]
) -> BankClient:
    return BankClient(server.url + "/account", tokens(), session)


def bearers(server: LoopbackServer) -> list[str]:
    return [a.headers["authorization"] for a in server.asked if "authorization" in a.headers]


def test_the_account_is_read_with_the_token_in_the_header(
    bank: BankClient, server: LoopbackServer
) -> None:
    assert bank.account().account_id == "acc-1"
    assert bearers(server) == ["Bearer first"]
    assert server.asked[-1].query == {}


def test_a_second_read_starts_at_arrow_4(bank: BankClient, server: LoopbackServer) -> None:
    bank.account()
    bank.account()

    assert server.paths() == ["/token", "/account", "/account"]


def test_a_refused_token_is_renewed_once_and_the_request_repeated_once(
    bank: BankClient, server: LoopbackServer
) -> None:
    server.reply("/token", granted("old"), granted("new"))
    server.reply("/account", INVALID_TOKEN, ACCOUNT)

    assert bank.account().balance == 5
    assert bearers(server) == ["Bearer old", "Bearer new"]


def test_a_token_refused_twice_is_an_error(bank: BankClient, server: LoopbackServer) -> None:
    server.reply("/account", INVALID_TOKEN)

    with pytest.raises(BankError, match="401 invalid_token"):
        bank.account()

    assert len(bearers(server)) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        Reply(401, headers={"WWW-Authenticate": "Bearer"}),
        Reply(403, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'}),
        Reply(403, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}),
        Reply(500),
    ],
    ids=["no code", "scope", "other status", "server error"],
)
def test_any_other_refusal_is_not_repeated(
    bank: BankClient, server: LoopbackServer, refusal: Reply
) -> None:
    server.reply("/account", refusal)

    with pytest.raises(BankError):
        bank.account()

    assert len(bearers(server)) == 1


@pytest.mark.parametrize(
    "link",
    [
        "https://127.0.0.1/t",
        "http://evil.example/t",
        "//evil.example/t",
        "http://127.0.0.1:1/t",
        "http://127.0.0.1:99999/t",
        "http://[/t",
        "file:///etc/passwd",
    ],
)
def test_the_token_goes_to_no_other_origin(
    bank: BankClient, server: LoopbackServer, link: str
) -> None:
    with pytest.raises(BankError) as caught:
        bank.page(link)

    assert caught.value.code == "foreign_link"
    assert server.asked == []


def test_a_link_may_be_absolute_or_relative(bank: BankClient, server: LoopbackServer) -> None:
    server.reply("/transactions", EMPTY_PAGE)

    assert bank.page("/transactions?after=1") == bank.page(server.url + "/transactions")
    assert server.asked[1].query == {"after": "1"}


def test_a_redirect_is_not_followed(bank: BankClient, server: LoopbackServer) -> None:
    server.reply("/account", Reply(302, headers={"Location": server.url + "/elsewhere"}))

    with pytest.raises(BankError, match="302 Found"):
        bank.account()

    assert server.paths() == ["/token", "/account"]


def test_a_bank_that_does_not_answer_is_told_without_a_status(
    bank: BankClient, server: LoopbackServer
) -> None:
    bank.account()
    server.stop()

    with pytest.raises(BankError) as caught:
        bank.account()

    assert (caught.value.status, caught.value.code) == (None, "no_answer")


def test_a_later_page_is_asked_for_beside_what_the_link_already_says(
    bank: BankClient, server: LoopbackServer
) -> None:
    account = bank.account()

    assert bank.first_page_link(account, 3) == "/transactions?until=5&after=3"
    assert bank.first_page_link(account, 0) == "/transactions?until=5"
    server.reply("/account", ACCOUNT)
    assert bank.first_page_link(bank.account(), 3) == "/transactions?after=3"


def test_arrow_4_passes_with_a_shortened_token(
    bank: BankClient, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.reply("/token", granted("t" * 40))

    with caplog.at_level(logging.INFO, "shared.arrows"):
        bank.account()

    event = caplog.records[-1].__dict__["event"]
    assert (event["arrow"], event["status"], event["url"]) == (4, 200, server.url + "/account")
    assert event["parameters"] == {"access_token": "tttttttttt… (40 characters)"}
