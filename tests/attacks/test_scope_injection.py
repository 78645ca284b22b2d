import pytest

from tests.attacks.careless_server import (
    Claims,
    ScopeMissingError,
    careless_server,
    signed_by,
)
from tests.attacks.stories import Line
from tests.conformance.bank_requests import INSUFFICIENT_SCOPE, verdict_on
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer


class TestScopeInjection:
    """One scope that is read as two.

    The attacker has: a client at an issuer where tenants name scopes for their own API.

    The attacker does: names one of theirs `Mine`, a tab, `Read`. The issuer, to which only a space
    separates scopes, finds one scope, and the tenant's own; it puts it into the token.

    It works where: the API splits the claim at any white space, as `split()` does in most
    languages, or looks for its scope's name somewhere in the text. It reads `Read`.

    Who stops it: scopes are separated by one character, the space (RFC 6749 §3.3), and compared
    whole. At the issuer no name may have white space in it at all: ours refuses it.
    """

    stopped_by = Line("resource_server/token_validation.py", 'scope.split(" ")')

    separators = pytest.mark.parametrize(
        "separator",
        ["\t", "\n", "\r\n", "\x0b", "\x1c", "\u00a0", "\u2003", "\u2028"],
        ids=["tab", "newline", "CRLF", "VT", "FS", "no-break space", "em space", "line separator"],
    )

    def token(self, issuer: OwnIssuer, separator: str) -> str:
        return issuer.token("ec", claims={"scope": f"Mine{separator}Read"})

    @separators
    def test_a_server_that_splits_at_any_white_space_reads_two_scopes(
        self, issuer: OwnIssuer, separator: str
    ) -> None:
        def check(token: str) -> Claims:
            claims = signed_by(issuer, token).claims
            if "Read" not in claims["scope"].split():
                raise ScopeMissingError
            return claims

        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, self.token(issuer, separator)) == (200, None)

    def test_a_server_that_looks_for_the_name_in_the_text_finds_it_in_another(
        self, issuer: OwnIssuer
    ) -> None:
        def check(token: str) -> Claims:
            claims = signed_by(issuer, token).claims
            if "Read" not in claims["scope"]:
                raise ScopeMissingError
            return claims

        with careless_server(issuer, check) as careless:
            assert verdict_on(careless, self.token(issuer, "")) == (200, None)

    @separators
    def test_the_bank_reads_one_scope_that_is_not_its_own(
        self, bank: ResourceServerUnderTest, separator: str
    ) -> None:
        assert verdict_on(bank, self.token(bank.issuer, separator)) == INSUFFICIENT_SCOPE

    def test_the_bank_compares_the_whole_name(self, bank: ResourceServerUnderTest) -> None:
        assert verdict_on(bank, self.token(bank.issuer, "")) == INSUFFICIENT_SCOPE
