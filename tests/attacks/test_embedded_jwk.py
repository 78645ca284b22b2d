from tests.attacks.careless_server import Claims, careless_server
from tests.attacks.stories import Line, refusal_of
from tests.conformance.bank_requests import verdict_on
from tests.conformance.jwt_reading import key_of, read_jwt, verify
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer


class TestEmbeddedJwk:
    """A token that brings the key to check it with.

    The attacker has: a key pair, made a second ago.

    The attacker does: signs a token with it, and puts the public key into the header, where
    RFC 7515 §4.1.3 has a place for it, `jwk`.

    It works where: the check takes the key from there. The signature is perfect; it only proves
    that the attacker is the attacker.

    Who stops it: nothing ever reads `jwk`. The key is the issuer's of that `kid`, and with it the
    signature does not verify (RFC 8725 §3.10).
    """

    stopped_by = Line("resource_server/token_validation.py", "the signature is not good")

    def forged(self, issuer: OwnIssuer, attacker: OwnIssuer) -> str:
        header = {"jwk": attacker.keys["ec"].public_jwk()}
        return attacker.token("ec", header=header, claims={"iss": issuer.url})

    def test_a_server_that_takes_the_key_from_the_token_believes_it(
        self, issuer: OwnIssuer, attacker: OwnIssuer
    ) -> None:
        def check(token: str) -> Claims:
            jwt = read_jwt(token)
            verify(jwt, jwt.header.get("jwk") or key_of(jwt, issuer.jwks()))
            return jwt.claims

        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, self.forged(issuer, attacker)) == (200, None)

    def test_the_bank_checks_with_the_issuers_key(
        self, bank: ResourceServerUnderTest, attacker: OwnIssuer
    ) -> None:
        refusal = refusal_of(bank, self.forged(bank.issuer, attacker))

        assert refusal == "the signature is not good"
