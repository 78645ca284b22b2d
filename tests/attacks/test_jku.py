import requests

from tests.attacks.careless_server import Claims, careless_server
from tests.attacks.stories import Line, refusal_of
from tests.conformance.bank_requests import verdict_on
from tests.conformance.jwt_reading import key_of, read_jwt, verify
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import JWKS_PATH, OwnIssuer


class TestJku:
    """A token that says where its key is to be fetched.

    The attacker has: a key pair, and a web server that publishes it.

    The attacker does: signs a token, and writes the address of that server into the header `jku`
    (RFC 7515 §4.1.2). Before the trusted host's name stands an @ in it: whoever compares how the
    address begins finds the issuer, whoever opens it comes to the attacker.

    It works where: the check fetches keys from where a token says. It is a forgery and, as the API
    asks any address that a stranger names, a way into its network as well.

    Who stops it: the address of the keys comes from the issuer's metadata, whose address is a
    setting. Nothing ever reads `jku` or `x5u`, and nobody is asked (RFC 8725 §3.10).
    """

    stopped_by = Line("resource_server/issuer_keys.py", '("jwks_uri")')

    def forged(self, issuer: OwnIssuer, attacker: OwnIssuer) -> str:
        jku = f"{issuer.url}@127.0.0.1:{attacker.port}{JWKS_PATH}"
        return attacker.token("ec", header={"jku": jku}, claims={"iss": issuer.url})

    def test_a_server_that_fetches_where_the_token_says_comes_to_the_attacker(
        self, issuer: OwnIssuer, attacker: OwnIssuer
    ) -> None:
        def check(token: str) -> Claims:
            jwt = read_jwt(token)
            jku = jwt.header.get("jku", issuer.url + JWKS_PATH)
            assert jku.startswith(issuer.url)
            verify(jwt, key_of(jwt, requests.get(jku, timeout=5).json()))
            return jwt.claims

        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, self.forged(issuer, attacker)) == (200, None)

    def test_the_bank_refuses_and_asks_nobody(
        self, bank: ResourceServerUnderTest, attacker: OwnIssuer
    ) -> None:
        refusal = refusal_of(bank, self.forged(bank.issuer, attacker))

        assert refusal == "the signature is not good"
        assert dict(attacker.fetches) == {}
