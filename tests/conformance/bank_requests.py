"""Requests for a protected resource, right or wrong, and how their answers are read."""

from tests.conformance.challenges import challenge_in
from tests.conformance.http_exchange import Answer, send
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import ABSENT

INVALID_TOKEN = (401, "invalid_token")
INSUFFICIENT_SCOPE = (403, "insufficient_scope")


def read_with(bank: ResourceServerUnderTest, token: str) -> Answer:
    """GET the resource with ``token`` as RFC 6750 §2.1 has it."""
    return send("GET", bank.url, [("Authorization", f"Bearer {token}")])


def verdict(answer: Answer) -> tuple[int, str | None]:
    """Return status and error code of an answer; the code stands in its challenge."""
    if answer.header("WWW-Authenticate") is None:
        return answer.status, None
    return answer.status, challenge_in(answer.header("WWW-Authenticate")).get("error")


def verdict_on(bank: ResourceServerUnderTest, token: str) -> tuple[int, str | None]:
    """Return status and error code of a GET with ``token``."""
    return verdict(read_with(bank, token))


def named(value: object) -> str:
    """Return how a test's id shows ``value``; the one that means "left out" has no fixed repr."""
    return "absent" if value is ABSENT else repr(value)
