import sqlite3
from pathlib import Path

from joserfc.jwk import ECKey

from tests.attacks.careless_server import Claims, careless_server
from tests.attacks.stories import Line, refusal_of
from tests.conformance.bank_requests import verdict_on
from tests.conformance.jwt_reading import read_jwt, verify
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer


class TestKidInjection:
    """A key identifier that is a path, or a piece of SQL.

    The attacker has: a key pair of their own, and a way to place a file on the server, a picture of
    a cat, say; or, where keys lie in a database, not even that.

    The attacker does: names as `kid` the path from the keys to that file, which holds their public
    key; or ends the string of the query with a quote, and has it select their key.

    It works where: the `kid` reaches a file system, a database, a shell or a URL before the
    signature was verified: until then it is the attacker's text.

    Who stops it: the `kid` is looked up among the issuer's keys in memory, by comparison and
    nothing else. A text that names none of them names nothing (RFC 8725 §3.10).
    """

    stopped_by = Line("resource_server/token_validation.py", "publishes no key of this kid")

    def test_a_server_with_its_keys_in_files_reads_the_attackers(
        self, issuer: OwnIssuer, attacker: OwnIssuer, tmp_path: Path
    ) -> None:
        keys, uploads = tmp_path / "keys", tmp_path / "uploads"
        keys.mkdir()
        uploads.mkdir()
        (keys / "ec").write_bytes(issuer.keys["ec"].public_pem())
        (uploads / "cat.png").write_bytes(attacker.keys["ec"].public_pem())

        def check(token: str) -> Claims:
            return es256_claims(token, (keys / read_jwt(token).header["kid"]).read_bytes())

        forged = self.forged(issuer, attacker, kid="../uploads/cat.png")
        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, forged) == (200, None)

    def test_a_server_with_its_keys_in_a_database_selects_the_attackers(
        self, issuer: OwnIssuer, attacker: OwnIssuer
    ) -> None:
        database = sqlite3.connect(":memory:", check_same_thread=False)
        database.execute("CREATE TABLE keys (kid TEXT, pem TEXT)")
        pem = issuer.keys["ec"].public_pem().decode()
        database.execute("INSERT INTO keys VALUES ('ec', ?)", [pem])

        def check(token: str) -> Claims:
            kid = read_jwt(token).header["kid"]
            query = f"SELECT pem FROM keys WHERE kid = '{kid}'"  # noqa: S608 - this is the gap
            return es256_claims(token, database.execute(query).fetchone()[0].encode())

        forged = self.forged(issuer, attacker, kid=self.selecting_the_key_of(attacker))
        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, forged) == (200, None)
        database.close()

    def test_the_bank_knows_no_such_key(
        self, bank: ResourceServerUnderTest, attacker: OwnIssuer
    ) -> None:
        kids = ["../uploads/cat.png", self.selecting_the_key_of(attacker), "ec\x00", "rsa; ls"]
        refusals = {refusal_of(bank, self.forged(bank.issuer, attacker, kid)) for kid in kids}

        assert refusals == {"the issuer publishes no key of this kid"}

    def forged(self, issuer: OwnIssuer, attacker: OwnIssuer, kid: str) -> str:
        return attacker.token("ec", header={"kid": kid}, claims={"iss": issuer.url})

    def selecting_the_key_of(self, attacker: OwnIssuer) -> str:
        return f"' UNION SELECT '{attacker.keys['ec'].public_pem().decode()}"


def es256_claims(token: str, pem: bytes) -> Claims:
    """Return the claims of ``token``, if the key in ``pem`` signed it."""
    jwt = read_jwt(token)
    verify(jwt, ECKey.import_key(pem).as_dict(private=False))
    return jwt.claims
