"""Ten minutes of full load: whether memory, open files or the rate change."""

from collections.abc import Iterator, Sequence
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
class Slice:
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
    noises = [one.noise for one in slices]
    return put_section(out, "soak", _lines(slices), cores, noises, plan, has_rounds=False)


def _lines(slices: Sequence[Slice]) -> list[str]:
    return [
        "## Soak",
        "",
        f"{slices[-1].after_seconds / 60:g} minutes of full load with RS256, one worker. "
        f"{changes(slices)}",
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


def changes(slices: Sequence[Slice]) -> str:
    """Return a sentence on what differs between the first slice and the last."""
    first, last = slices[0], slices[-1]
    if first is last:
        return "That is too short to compare its beginning with its end."
    return (
        f"From the first row to the last: memory {_change(first.memory_mib, last.memory_mib)}, "
        f"open files {last.open_files - first.open_files:+d}, "
        f"rate {_change(first.rate, last.rate)}."
    )


def _slices(
    server: Server, launch: Launch, plan: Plan, cores: Cores, folder: Path
) -> Iterator[Slice]:
    after = 0.0
    for seconds in lengths(plan.soak_seconds):
        result, _, noise = measured(server, launch, launch.asks[0], seconds, cores, folder)
        after += seconds
        print(f"soak: {after:g} s", flush=True)
        yield Slice(
            after, result.rate, result.p99_ms, server.memory_mib(), server.open_files(), noise
        )


def lengths(seconds: float) -> Iterator[float]:
    """Yield how long each slice of so many seconds is: the last one has the rest."""
    while seconds > 0:
        yield min(SLICE_SECONDS, seconds)
        seconds -= SLICE_SECONDS


def _change(first: float, last: float) -> str:
    return f"{100 * (last / first - 1):+.1f} %"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
