import time
import uuid

import requests

from tests.attacks.careless_server import Claims, careless_server
from tests.attacks.stories import Line
from tests.conformance.bank_requests import INVALID_TOKEN, verdict_on
from tests.conformance.jwt_reading import key_of, read_jwt, verify
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import JWKS_PATH, OwnIssuer

FLOOD = 40
COOLDOWN_SECONDS = 1
"""What the bank of these tests is set to."""


class TestMadeUpKids:
    """A flood of tokens that name keys which nobody has (key-set flooding).

    The attacker has: a script, and no key: what it sends need not verify.

    The attacker does: sends tokens with a new random `kid` in each.

    It works where: an unknown `kid` makes the API fetch the key set, as it must after a rotation,
    and nothing counts how often. Each cheap request becomes a connection to the issuer: the
    attacker knocks the issuer over with the API's help, and every request waits for it meanwhile.

    Who stops it: after a fetch that an unknown `kid` caused there is none for a cool-down, and one
    fetch runs at a time. A token with a known key never waits for either (RFC 8725 §2.9 speaks of
    the indirect attacks on a server; OpenID Connect Core §10.1.1 of why an unknown `kid` is read
    anew).
    """

    stopped_by = Line("resource_server/issuer_keys.py", "< self._no_fetch_before")

    def flood(self, issuer: OwnIssuer) -> list[str]:
        header = issuer.header("ec")
        return [
            issuer.token("ec", header={**header, "kid": uuid.uuid4().hex}, signature=bytes(64))
            for _ in range(FLOOD)
        ]

    def test_a_server_that_fetches_for_each_floods_the_issuer(self, issuer: OwnIssuer) -> None:
        kept = {"keys": issuer.jwks()["keys"]}

        def check(token: str) -> Claims:
            jwt = read_jwt(token)
            if jwt.header["kid"] not in {jwk["kid"] for jwk in kept["keys"]}:
                kept.update(requests.get(issuer.url + JWKS_PATH, timeout=5).json())
            verify(jwt, key_of(jwt, kept))
            return jwt.claims

        with careless_server(issuer, check) as careless:
            before = issuer.fetches[JWKS_PATH]
            for token in self.flood(issuer):
                verdict_on(careless, token)
        assert issuer.fetches[JWKS_PATH] - before == FLOOD

    def test_the_bank_fetches_once_in_a_cooldown(self, bank: ResourceServerUnderTest) -> None:
        before, started = bank.issuer.fetches[JWKS_PATH], time.monotonic()
        verdicts = {verdict_on(bank, token) for token in self.flood(bank.issuer)}
        cooldowns = (time.monotonic() - started) / COOLDOWN_SECONDS

        assert verdicts == {INVALID_TOKEN}
        assert bank.issuer.fetches[JWKS_PATH] - before <= cooldowns + 2

    def test_no_good_token_is_refused_meanwhile(self, bank: ResourceServerUnderTest) -> None:
        good = []
        for token in self.flood(bank.issuer)[:10]:
            verdict_on(bank, token)
            good.append(verdict_on(bank, bank.issuer.token("ec")))

        assert good == [(200, None)] * 10
