"""What is counted, up to which limits, and what a place to count in has to offer."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """How many failures in a window are answered as usual; a window begins with its first one."""

    per_client: int
    per_address: int
    window_seconds: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Where a failure came from, and which client it was claimed for at that address.

    Both are digests of one length. ``client`` is None where the request named none.
    """

    address: str
    client: str | None


class FailureCounts(Protocol):
    """A place where failures are counted: this process, or a server that many share."""

    def count(self, failure: Failure) -> float:
        """Count ``failure``; return the seconds until the limit it is past ends, else 0.

        Past the limit of its address, a failure is counted for no client: so one address can
        make only so many counts, however many clients it makes up.
        """
        ...
