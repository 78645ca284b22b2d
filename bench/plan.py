"""How long a measurement takes, and how often it is made."""

from dataclasses import dataclass

from bench.launch import Peer

COMPILER_FACTOR = 6
"""How much longer a server is warmed up that compiles itself while it runs."""


@dataclass(frozen=True)
class Plan:
    """How long everything takes."""

    rounds: int
    seconds: float
    warm_up_seconds: float
    soak_seconds: float = 600
    transactions: int = 1_000_000
    """How many of them the row `reconciliation` reads."""
    command: str = "make bench"
    """What makes these measurements again."""

    def warm_up(self, peer: Peer) -> float:
        """Return for how long ``peer`` is warmed up."""
        return self.warm_up_seconds * (COMPILER_FACTOR if peer.compiles_while_it_runs else 1)

    @property
    def is_too_short_for_compilers(self) -> bool:
        """Tell whether a server that compiles itself while it runs is measured half compiled."""
        return self.warm_up_seconds < FULL.warm_up_seconds


FULL = Plan(rounds=3, seconds=15, warm_up_seconds=10)
QUICK = Plan(rounds=3, seconds=3, warm_up_seconds=1)
