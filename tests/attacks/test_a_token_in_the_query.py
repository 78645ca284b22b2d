import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Request

from tests.attacks.careless_server import (
    CarelessServer,
    Claims,
    ScopeMissingError,
    careless_server,
    signed_by,
    token_in_the_header,
)
from tests.attacks.stories import Line
from tests.conformance.bank_requests import INSUFFICIENT_SCOPE, read_with, verdict
from tests.conformance.http_exchange import Answer, send
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer


class TestATokenInTheQuery:
    """A token in the address.

    The attacker has: sight of addresses: an access log, a proxy, a browser's history, the Referer
    header of the next page. Or only a link that somebody else will open.

    The attacker does: reads a token from an address, and spends it. Or sends a link with a token of
    their own in its query, which takes the place of the victim's in the header: what the victim
    then writes, goes into the attacker's account (token substitution).

    It works where: the API takes tokens from the query as well, which RFC 6750 §2.3 described and
    OAuth 2.1 has taken out.

    Who stops it: the Authorization header alone is read (OAuth 2.1 §5.1), and no log of ours has
    a query in it.
    """

    stopped_by = Line("resource_server/token_validation.py", 'environ.get("HTTP_AUTHORIZATION")')

    @pytest.fixture
    def careless(self, issuer: OwnIssuer) -> Iterator[CarelessServer]:
        def check(token: str) -> Claims:
            claims = signed_by(issuer, token).claims
            if "Read" not in claims["scope"].split(" "):
                raise ScopeMissingError
            return claims

        def token_of(asked: Request) -> str:
            return asked.args.get("access_token") or token_in_the_header(asked)

        with careless_server(issuer, check, token_of) as running:
            yield running

    def test_at_a_server_that_reads_the_query_whoever_reads_the_log_gets_in(
        self, careless: CarelessServer
    ) -> None:
        send("GET", f"{careless.url}?access_token={careless.issuer.token('ec')}")
        found = careless.access_log[-1].partition("access_token=")[2].split(" ")[0]

        assert read_with(careless, found).status == 200

    def test_the_bank_refuses_it_and_its_log_does_not_have_it(
        self, bank: ResourceServerUnderTest, bank_folder: Path
    ) -> None:
        token = bank.issuer.token("ec")
        (log,) = (bank_folder / "logs").iterdir()
        before = log.read_text()
        answer = send("GET", f"{bank.url}?access_token={token}")
        logged = read_once_it_has(log, "/account answered 401", after=len(before))

        assert verdict(answer) == (401, None)
        assert token not in logged

    def test_at_a_server_that_reads_the_query_a_link_changes_who_one_is(
        self, careless: CarelessServer
    ) -> None:
        answer = self.opened_by_a_victim(careless, careless.issuer.token("ec"))

        assert answer.json() == {"account_of": "attacker"}

    def test_at_the_bank_the_header_alone_counts(self, bank: ResourceServerUnderTest) -> None:
        without_scope = bank.issuer.token("ec", claims={"scope": "Other"})

        answer = self.opened_by_a_victim(bank, without_scope)

        assert verdict(answer) == INSUFFICIENT_SCOPE

    def opened_by_a_victim(self, server: ResourceServerUnderTest, victims: str) -> Answer:
        """Open the attacker's link, whose own token is good, with the victim's token."""
        attackers = server.issuer.token("ec", claims={"sub": "attacker"})
        link = f"{server.url}?access_token={attackers}"
        return send("GET", link, [("Authorization", f"Bearer {victims}")])


def read_once_it_has(log: Path, line: str, after: int) -> str:
    """Return the log behind its first ``after`` characters, once ``line`` is there."""
    deadline = time.monotonic() + 10
    while line not in (logged := log.read_text()[after:]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return logged
