import logging
from collections.abc import Callable
from dataclasses import replace
from threading import Event

import pytest
import requests

from client_service.bank_answers import BankError
from client_service.bank_client import BankClient
from client_service.retries import MOST_TRIES, Retries
from client_service.task import StoppedError, pause_unless_stopped
from client_service.token_messages import TokenError
from client_service.token_source import TokenSource
from client_service.transaction_pages import first_page_link
from tests.stack.loopback import Answering, Asked, LoopbackServer, Reply

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
    return BankClient(server.url + "/account", tokens(), session, Retries(0))


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
        Reply(404),
        Reply(408),
        Reply(501),
        Reply(302, headers={"Location": "/account"}),
        Reply(200, document={}),
    ],
    ids=["no code", "scope", "other status", "404", "408", "501", "redirect", "no content"],
)
def test_any_other_refusal_is_not_repeated(
    bank: BankClient, server: LoopbackServer, refusal: Reply
) -> None:
    server.reply("/account", refusal)

    with pytest.raises(BankError):
        patient(bank).account()

    assert len(bearers(server)) == 1


def patient(bank: BankClient, sleep: Callable[[float], None] = lambda _: None) -> BankClient:
    """Return ``bank``, but one that repeats reads, and makes no longer pauses than it must."""
    retries = Retries(10, sleep=sleep, uniform=lambda low, _high: low, failure=BankError)
    return replace(bank, retries=retries)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_read_that_fails_for_a_reason_that_may_pass_is_repeated(
    bank: BankClient, server: LoopbackServer, status: int
) -> None:
    server.reply("/account", Reply(status), ACCOUNT)

    assert patient(bank).account().balance == 5
    assert server.paths() == ["/token", "/account", "/account"]


def cut(_asked: Asked) -> Reply:
    """Let the connection end without an answer, as it does where the handler has an OSError."""
    raise ConnectionError


@pytest.mark.parametrize(
    "answer", [cut, replace(ACCOUNT, breaks_off=True)], ids=["none", "half of it"]
)
def test_a_read_whose_answer_does_not_come_whole_is_repeated(
    bank: BankClient, server: LoopbackServer, answer: Reply | Answering
) -> None:
    server.reply("/account", answer, ACCOUNT)

    assert patient(bank).account().balance == 5


def test_the_pause_that_the_bank_asks_for_is_made(bank: BankClient, server: LoopbackServer) -> None:
    pauses: list[float] = []
    server.reply("/account", Reply(503, headers={"Retry-After": "4"}), ACCOUNT)

    patient(bank, pauses.append).account()

    assert pauses == [4]


def test_a_read_that_keeps_failing_is_sent_six_times_and_its_last_failure_told(
    bank: BankClient, server: LoopbackServer
) -> None:
    server.reply("/account", Reply(503))

    with pytest.raises(BankError, match="503 Service Unavailable"):
        patient(bank).account()

    assert server.paths() == ["/token"] + ["/account"] * MOST_TRIES


def test_each_try_has_the_token_of_its_time(bank: BankClient, server: LoopbackServer) -> None:
    server.reply("/token", granted("old"), granted("new"))
    server.reply("/account", Reply(503), INVALID_TOKEN, Reply(503), ACCOUNT)

    patient(bank).account()

    assert bearers(server) == ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]


def test_a_token_that_is_not_to_be_had_is_not_asked_for_again_by_the_read(
    bank: BankClient, server: LoopbackServer
) -> None:
    server.reply("/token", Reply(503))

    with pytest.raises(TokenError):
        patient(bank).account()

    assert server.paths() == ["/token"]


def test_a_read_is_not_repeated_once_the_process_is_to_stop(
    bank: BankClient, server: LoopbackServer
) -> None:
    stopping = Event()

    def answer(_asked: Asked) -> Reply:
        stopping.set()
        return Reply(503, headers={"Retry-After": "5"})

    server.reply("/account", answer)

    with pytest.raises(StoppedError):
        patient(bank, pause_unless_stopped(stopping)).account()

    assert server.paths() == ["/token", "/account"]


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

    assert first_page_link(account, 3) == "/transactions?until=5&after=3"
    assert first_page_link(account, 0) == "/transactions?until=5"
    server.reply("/account", ACCOUNT)
    assert first_page_link(bank.account(), 3) == "/transactions?after=3"


def test_arrow_4_passes_with_a_shortened_token(
    bank: BankClient, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.reply("/token", granted("t" * 40))

    with caplog.at_level(logging.INFO, "shared.arrows"):
        bank.account()

    event = caplog.records[-1].__dict__["event"]
    assert (event["arrow"], event["status"], event["url"]) == (4, 200, server.url + "/account")
    assert event["parameters"] == {"access_token": "tttttttttt… (40 characters)"}
