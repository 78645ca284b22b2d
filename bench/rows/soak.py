"""Ten minutes of full load: whether memory, open files or the rate change."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.comparison import run_folder
from bench.launch import Launch
from bench.machine import Cores
from bench.measuring import Noise, measured
from bench.peers.ours import OURS
from bench.plan import Plan
from bench.process import Server, running
from bench.report import put_section, table
from bench.wrk import load

SLICE_SECONDS = 30


@dataclass(frozen=True)
class _Slice:
    """What was seen after a slice of the load."""

    after_seconds: float
    rate: float
    p99_ms: float
    memory_mib: float
    open_files: int
    noise: Noise


def measure(plan: Plan, cores: Cores, out: Path) -> str:
    """Load our server for as long as the plan says, in slices; judge the tokens in between."""
    with run_folder() as folder:
        launch = OURS[0].prepare(_made(folder / "ours"))
        with running(launch, cores.for_servers(1), folder / "ours.log") as (server, _):
            load(launch.port, launch.asks[0], plan.warm_up_seconds, cores.load)
            slices = list(_slices(server, launch, plan, cores, folder))
    first, last = slices[0], slices[-1]
    lines = [
        "## Soak",
        "",
        f"{last.after_seconds / 60:g} minutes of full load with RS256, one worker. From the first "
        f"row to the last: memory {_change(first.memory_mib, last.memory_mib)}, "
        f"open files {last.open_files - first.open_files:+d}, "
        f"rate {_change(first.rate, last.rate)}.",
        "",
        *table(
            ("after s", "tokens/s", "p99 ms", "memory MiB", "open files"),
            [
                (
                    f"{one.after_seconds:g}",
                    f"{one.rate:.0f}",
                    f"{one.p99_ms:.1f}",
                    f"{one.memory_mib:.1f}",
                    str(one.open_files),
                )
                for one in slices
            ],
        ),
    ]
    return put_section(out, "soak", lines, cores, [one.noise for one in slices])


def _slices(
    server: Server, launch: Launch, plan: Plan, cores: Cores, folder: Path
) -> Iterator[_Slice]:
    after = 0.0
    while after < plan.soak_seconds:
        result, _, noise = measured(server, launch, launch.asks[0], SLICE_SECONDS, cores, folder)
        after += SLICE_SECONDS
        print(f"soak: {after:g} s", flush=True)
        yield _Slice(
            after, result.rate, result.p99_ms, server.memory_mib(), server.open_files(), noise
        )


def _change(first: float, last: float) -> str:
    return f"{100 * (last / first - 1):+.1f} %"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
