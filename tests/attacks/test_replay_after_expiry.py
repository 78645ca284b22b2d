import time

from tests.attacks.careless_server import Claims, careless_server, signed_by
from tests.attacks.stories import Line, refusal_of
from tests.conformance.bank_requests import verdict_on
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer


class TestReplayAfterExpiry:
    """A token that was good once.

    The attacker has: an access token from last year's log file, backup or core dump.

    The attacker does: sends it, unchanged.

    It works where: the check verifies the signature and does not look at the clock. A signature
    never ends; that is what `exp` is for.

    Who stops it: `exp` must be there, be a number, and lie ahead; the clocks of issuer and bank may
    be some seconds apart (RFC 9068 §4, RFC 7519 §4.1.4). Until `exp`, a stolen token is good: that
    is why its life is five minutes.
    """

    stopped_by = Line("resource_server/token_validation.py", "the token has expired")

    def found(self, issuer: OwnIssuer) -> str:
        last_year = int(time.time()) - 365 * 24 * 3600
        return issuer.token(claims={"iat": last_year, "exp": last_year + 300})

    def test_a_server_that_does_not_look_at_the_clock_takes_it(self, issuer: OwnIssuer) -> None:
        def check(token: str) -> Claims:
            jwt = signed_by(issuer, token)
            assert jwt.header["typ"] == "at+jwt"
            assert jwt.claims["iss"] == issuer.url
            assert jwt.claims["aud"] == issuer.audience
            return jwt.claims

        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, self.found(issuer)) == (200, None)

    def test_the_bank_says_that_it_has_expired(self, bank: ResourceServerUnderTest) -> None:
        assert refusal_of(bank, self.found(bank.issuer)) == "the token has expired"
