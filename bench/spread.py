"""What is said of some figures of the same thing: their median and their range."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True)
class Spread:
    """The median of some figures, with the lowest and the highest of them."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> Self:
        """Return the spread of ``figures``, of which there is at least one."""
        listed = list(figures)
        return cls(median(listed), min(listed), max(listed))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the spread of the ratios, each of two figures of the same round."""
    return Spread.of(one / other for one, other in zip(ours, theirs, strict=True))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the figure that ``percent`` of all are not above; ``ordered`` is sorted, not empty."""
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(rank) - 1)]
