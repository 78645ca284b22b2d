"""Arrow 4: reads the bank's account with an access token, and pages through its transactions."""

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import requests
from requests import PreparedRequest, Response

from client_service import bank_answers
from client_service.bank_answers import Account, BankError, Page
from client_service.bearer_auth import BearerAuth
from client_service.retries import Repeating, Retries
from client_service.token_messages import read_bounded
from client_service.token_source import TokenSource
from shared.arrows import Arrow, passed
from shared.tracing_adapter import TracingAdapter

TIMEOUT_SECONDS = (3.05, 10)  # to connect, and for each read


@dataclass(frozen=True, slots=True)
class BankClient:
    """Spends the tokens of ``tokens`` at the bank, and nowhere else."""

    account_url: str
    tokens: TokenSource
    session: requests.Session  # the bank's alone
    retries: Repeating[dict[str, Any]] = field(default_factory=lambda: Retries(failure=BankError))

    def __post_init__(self) -> None:
        self.session.auth = BearerAuth(self.tokens, origins=[self.account_url])
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, ReadingAdapter())

    def account(self) -> Account:
        """Return the account; raise BankError or TokenError where it can't be read."""
        return bank_answers.account_in(self._get(self.account_url))

    def page(self, link: str) -> Page:
        """Return the page behind ``link``; raise BankError or TokenError where it can't be read."""
        return bank_answers.page_in(self._get(link))

    def _get(self, link: str) -> dict[str, Any]:
        """Return the content behind ``link``; a GET may be repeated (RFC 9110 §9.2.2)."""
        url = bank_answers.own_url(self.account_url, link)
        return self.retries.until_answered(partial(self._get_once, url))

    def _get_once(self, url: str) -> dict[str, Any]:
        try:
            with self.session.get(
                url,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,  # the token follows none
                verify=self.session.verify,  # else `REQUESTS_CA_BUNDLE` would come first
                stream=True,
            ) as response:
                code, body = response.status_code, read_bounded(response)
        except requests.RequestException as error:
            raise BankError("no_answer", f"{url}: {type(error).__name__}") from error
        return bank_answers.content_in(code, response.headers, body)


class ReadingAdapter(TracingAdapter):
    """Sends each request and records arrow 4, each time anew where a request is repeated."""

    def send(self, request: PreparedRequest, *options: Any, **more: Any) -> Response:
        """Return the answer; its body is still to be read."""
        start, url, method = time.time(), request.url, request.method
        response = super().send(request, *options, **more)
        code = response.status_code
        sent = {"access_token": request.headers["Authorization"].removeprefix("Bearer ")}
        passed(
            Arrow.READ_RESOURCE, method=method, url=url, status=code, parameters=sent, started=start
        )
        return response
