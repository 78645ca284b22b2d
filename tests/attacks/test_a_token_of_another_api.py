import time

from tests.attacks.careless_server import Claims, careless_server, signed_by
from tests.attacks.stories import Line, refusal_of
from tests.conformance.bank_requests import verdict_on
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer


class TestATokenOfAnotherApi:
    """A good access token, sent on to an API that it was not made for (audience confusion).

    The attacker has: an API of their own at the same issuer, a harmless one. Its clients bring it
    access tokens all day long; or they took over such an API, the weakest of many.

    The attacker does: keeps the tokens that clients bring, and spends them at the bank. `Read`
    means something in both places.

    It works where: the check does not compare `aud`. Then the weakest API of an issuer is the key
    to all the others.

    Who stops it: `aud` must be this bank's identifier, or a list that contains it, to the byte
    (RFC 9068 §4, RFC 8725 §3.9).
    """

    stopped_by = Line("resource_server/token_validation.py", "audience not in audiences")

    def kept(self, issuer: OwnIssuer) -> str:
        return issuer.token(claims={"aud": "https://weather.example", "sub": "victim"})

    def test_a_server_that_compares_no_audience_serves_the_attacker(
        self, issuer: OwnIssuer
    ) -> None:
        def check(token: str) -> Claims:
            jwt = signed_by(issuer, token)
            assert jwt.header["typ"] == "at+jwt"
            assert jwt.claims["iss"] == issuer.url
            assert jwt.claims["exp"] > time.time()
            return jwt.claims

        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, self.kept(issuer)) == (200, None)

    def test_the_bank_says_that_the_token_is_for_another_api(
        self, bank: ResourceServerUnderTest
    ) -> None:
        assert "for another API" in refusal_of(bank, self.kept(bank.issuer))
