"""What does not add up: where in the account, what was expected there, and what was found."""

from dataclasses import dataclass, replace
from enum import StrEnum

MOST_LISTED = 100


class Kind(StrEnum):
    """What is wrong with the transactions of a range."""

    DIFFERENCE = "difference"
    """They do not explain what the balance has become."""
    MISSING = "missing"
    """There are none of these numbers."""
    CHANGED = "changed"
    """They are not those that were read before."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The transactions numbered above ``after`` and up to ``until`` are not as they should be.

    ``expected`` and ``found`` are what they add up to, in minor units; where they are missing,
    the number that should have come next and the one that came instead, None where none did.
    """

    kind: Kind
    account_id: str
    after: int
    until: int
    expected: int
    found: int | None

    def __str__(self) -> str:
        """Return what is told to a person; amounts are in minor units."""
        return _SENTENCES[self.kind](self)


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings of a run in their order; of very many the first are listed, the others counted.

    Neighbours that were changed are one finding: a book that was exchanged is one range.
    """

    listed: tuple[Finding, ...] = ()
    unlisted: int = 0

    def __bool__(self) -> bool:
        """Tell whether anything was found."""
        return bool(self.listed)

    def plus(self, *more: Finding) -> "Findings":
        """Return these findings and ``more``."""
        findings = self
        for finding in more:
            findings = findings._plus_one(finding)
        return findings

    def _plus_one(self, finding: Finding) -> "Findings":
        joined = _joined(self.listed[-1], finding) if self.listed and not self.unlisted else None
        if joined:
            return Findings((*self.listed[:-1], joined))
        if len(self.listed) == MOST_LISTED:
            return replace(self, unlisted=self.unlisted + 1)
        return Findings((*self.listed, finding))


def _joined(one: Finding, next_one: Finding) -> Finding | None:
    """Return two neighbours that were changed as one; None where they are no such pair."""
    is_pair = one.kind == next_one.kind == Kind.CHANGED and one.until == next_one.after
    if not is_pair or one.found is None or next_one.found is None:
        return None
    expected, found = one.expected + next_one.expected, one.found + next_one.found
    return replace(one, until=next_one.until, expected=expected, found=found)


def _range(finding: Finding, one: str, many: str) -> str:
    """Return what range it is, with the verb that goes with it."""
    first = finding.after + 1
    if first == finding.until:
        return f"transaction {first} {one}"
    return f"transactions {first} to {finding.until} {many}"


def _difference(finding: Finding) -> str:
    if finding.after == finding.until:
        return (
            f"the balance changed by {finding.expected} without a transaction after {finding.until}"
        )
    comes = _range(finding, "comes", "come")
    return f"{comes} to {finding.found}, and should to {finding.expected}"


def _missing(finding: Finding) -> str:
    came = "nothing" if finding.found is None else finding.found
    return f"{_range(finding, 'is', 'are')} missing: {came} came after {finding.after}"


def _changed(finding: Finding) -> str:
    what = _range(finding, "is not the one", "are not those")
    return f"{what} read before: the sum was {finding.expected}, and now is {finding.found}"


_SENTENCES = {Kind.DIFFERENCE: _difference, Kind.MISSING: _missing, Kind.CHANGED: _changed}
