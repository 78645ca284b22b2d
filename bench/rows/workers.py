"""What more workers bring: 1, 2 and 4, on as many cores as the machine has for them."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.launch import Launch, Peer
from bench.machine import Cores
from bench.peers.ours import OurServer
from bench.plan import Plan
from bench.rows.variants import measure_variants

COUNTS = (1, 2, 4)
ALGORITHMS = ("RS256", "ES256")

LINES = (
    "## Tokens, by the number of workers",
    "",
    "The load has a core of its own, and each worker another; of the two threads of one physical "
    "core one is used. Where fewer cores are left than workers, these share them, and what is seen "
    "is what it costs to have too many.",
)


def measure(plan: Plan, cores: Cores, out: Path) -> str:
    """Measure our server with so many workers."""
    variants = [
        Peer(_title(count, cores), partial(_prepare, count, algorithm))
        for count in COUNTS
        for algorithm in ALGORITHMS
    ]
    return measure_variants("workers", LINES, variants, plan, cores, out)


def _title(workers: int, cores: Cores) -> str:
    return f"{workers} on {len(cores.for_servers(workers))} core(s)"


def _prepare(workers: int, algorithm: str, folder: Path) -> Launch:
    settings = {
        "AUTH_SERVER_ACCESS_TOKEN_ALGORITHM": algorithm,
        "AUTH_SERVER_WORKERS": str(workers),
    }
    server = OurServer(folder, settings)
    server.set_up()
    launch = server.launch((algorithm, "bench", server.add_client("bench")))
    return replace(launch, processes=workers)
