import time

from tests.attacks.careless_server import Claims, careless_server, signed_by
from tests.attacks.stories import Line, refusal_of
from tests.conformance.bank_requests import verdict_on
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer


class TestTheIdTokenAsAccessToken:
    """Another good token of the same issuer, made for somebody else (cross-JWT confusion).

    The attacker has: an id_token. Every client that ever logged somebody in was given one; they lie
    in browsers, in logs and at partners, as nobody takes them for a key.

    The attacker does: sends it to an API as if it were an access token.

    It works where: the check verifies signature, issuer and expiry, and stops there. All three are
    right: it is the same issuer, with the same key.

    Who stops it: the type. An access token says `at+jwt` in its header, where no id_token does
    (RFC 9068 §4, RFC 8725 §3.11); its audience, the client, would be refused next.
    """

    stopped_by = Line("resource_server/token_validation.py", 'kind == "at+jwt"')

    def test_a_server_that_checks_signature_issuer_and_expiry_opens(
        self, issuer: OwnIssuer
    ) -> None:
        def check(token: str) -> Claims:
            claims = signed_by(issuer, token).claims
            assert claims["iss"] == issuer.url
            assert claims["exp"] > time.time()
            return claims

        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, issuer.id_token()) == (200, None)

    def test_the_bank_refuses_it_and_says_what_to_send_instead(
        self, bank: ResourceServerUnderTest
    ) -> None:
        assert "send the access_token" in refusal_of(bank, bank.issuer.id_token())
