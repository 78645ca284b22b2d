"""What each attack's class tells beside its tests: which line of ours stops it."""

from dataclasses import dataclass
from pathlib import Path

from tests.conformance.bank_requests import read_with
from tests.conformance.challenges import challenge_in
from tests.conformance.under_test import ResourceServerUnderTest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Line:
    """A line of ours: its file, and the part of it that no other line of that file has."""

    file: str
    code: str

    def places(self) -> list[int]:
        """Return the numbers of the lines where the code stands; it should be one."""
        lines = (ROOT / self.file).read_text().splitlines()
        return [number for number, line in enumerate(lines, start=1) if self.code in line]


def refusal_of(bank: ResourceServerUnderTest, token: str) -> str:
    """Return how the bank describes that it refuses ``token`` as an invalid one."""
    challenge = challenge_in(read_with(bank, token).header("WWW-Authenticate"))
    assert challenge["error"] == "invalid_token"
    return challenge["error_description"]
