"""Arrow 4: reads the bank's account with an access token, and pages through its transactions."""

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin

import requests

from client_service.bank_answers import Account, BankError, Page, account_in, content_in, page_in
from client_service.token_messages import AccessToken, as_it_is, read_bounded
from client_service.token_source import TokenSource
from shared.arrows import Arrow, passed
from shared.origins import origin_of

TIMEOUT_SECONDS = (3.05, 10)  # to connect, and for each read
LONG_WAY = 1000
LONG_PAGE = 500
"""How many transactions a page is to have where more than `LONG_WAY` are to be read."""


@dataclass(frozen=True, slots=True)
class BankClient:
    """Spends the tokens of ``tokens`` at the bank, and nowhere else."""

    account_url: str
    tokens: TokenSource
    session: requests.Session

    def account(self) -> Account:
        """Return the account; raise BankError or TokenError where it can't be read."""
        return account_in(self._get(self.account_url))

    def first_page_link(self, account: Account, after: int) -> str:
        """Return the link to the transactions of ``account`` that follow number ``after``."""
        query = {"after": after} if after else {}
        query |= {"limit": LONG_PAGE} if account.as_of - after > LONG_WAY else {}
        joint = "&" if "?" in account.transactions else "?"
        return account.transactions + (joint + urlencode(query) if query else "")

    def page(self, link: str) -> Page:
        """Return the page behind ``link``; raise BankError or TokenError where it can't be read."""
        return page_in(self._get(link))

    def _get(self, link: str) -> dict[str, Any]:
        """Return what the bank answers; renew a refused token once and repeat once.

        RFC 6750 §3.1 allows that on `invalid_token`: the token may have been revoked, or the
        issuer's keys replaced, before its end. Any other refusal would only come again.
        """
        url = self._own_url(link)
        token = self.tokens.token()
        try:
            return self._send(url, token)
        except BankError as refusal:
            if (refusal.status, refusal.code) != (401, "invalid_token"):
                raise
            self.tokens.discard(token)
        return self._send(url, self.tokens.token())

    def _send(self, url: str, token: AccessToken) -> dict[str, Any]:
        start, headers = time.time(), {"Authorization": f"Bearer {token.value}"}
        try:
            with self.session.get(
                url,
                headers=headers,
                auth=as_it_is,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,  # the token follows none
                stream=True,
            ) as response:
                code, body = response.status_code, read_bounded(response)
        except requests.RequestException as error:
            raise BankError("no_answer", f"{url}: {type(error).__name__}") from error
        sent = {"access_token": token.value}
        passed(
            Arrow.READ_RESOURCE, method="GET", url=url, status=code, parameters=sent, started=start
        )
        return content_in(code, response.headers, body)

    def _own_url(self, link: str) -> str:
        """Return ``link`` as a URL of the bank's origin; the token is for no other."""
        try:
            url = urljoin(self.account_url, link)
            if origin_of(url) == origin_of(self.account_url):
                return url
        except ValueError:
            pass  # no URL at all
        raise BankError("foreign_link", "a link of the bank leads to another origin")
