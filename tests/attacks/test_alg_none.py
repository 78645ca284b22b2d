import pytest

from tests.attacks.careless_server import Claims, careless_server, signed_by
from tests.attacks.stories import Line, refusal_of
from tests.conformance.bank_requests import verdict_on
from tests.conformance.jwt_reading import read_jwt
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer


@pytest.mark.parametrize("spelling", ["none", "None", "NONE", "nOnE"])
class TestAlgNone:
    """A token that says of itself that it is not signed.

    The attacker has: the two addresses, and nothing else. No token, no key, no account.

    The attacker does: writes the claims of their choice, `alg: none` above them, and leaves the
    signature empty. RFC 7519 §6 calls that an unsecured JWT, and some libraries read it happily.

    It works where: the check asks the token how it wants to be checked. A list of what is
    forbidden does not help for long: one that has "none" may not have "nOnE".

    Who stops it: the list of algorithms that are taken, read before any key is looked up. What is
    not on it is refused, however it is spelt (RFC 8725 §3.1, RFC 9068 §4).
    """

    stopped_by = Line("resource_server/token_validation.py", "algorithm not in algorithms")

    def forged(self, issuer: OwnIssuer, spelling: str) -> str:
        return issuer.token(header={"alg": spelling}, signature=b"")

    def test_a_server_that_asks_the_token_lets_anybody_in(
        self, issuer: OwnIssuer, spelling: str
    ) -> None:
        def check(token: str) -> Claims:
            jwt = read_jwt(token)
            if jwt.header["alg"].lower() == "none":
                return jwt.claims
            return signed_by(issuer, token).claims

        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, self.forged(issuer, spelling)) == (200, None)

    def test_the_bank_refuses_the_algorithm(
        self, bank: ResourceServerUnderTest, spelling: str
    ) -> None:
        assert "algorithm that is not taken" in refusal_of(bank, self.forged(bank.issuer, spelling))
