"""Writes the figures down: `RESULTS.md`, a section for each row, with plots beside it.

A row that is measured again replaces its own section and no other, so that a page may hold figures
of several days: each section says when, on what, and amid which noise.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.comparison import OURS, Comparison, Measurement
from bench.machine import Cores, description
from bench.measuring import Noise
from bench.plan import Plan
from bench.plots import bars
from bench.programs import commit
from bench.spread import Spread, ratios
from bench.wrk import CONNECTIONS

HEAD = """# Results

Written by `make bench`; [README.md](README.md) says how it is measured and what is fair. A figure
is the median of the rounds, with the lowest and the highest. Differences under 10 % are noise on
most machines.
"""
RESULTS = "RESULTS.md"
TOKENS = "tokens"
"""The section of the whole comparison, which is no row."""
ALGORITHMS = ("RS256", "ES256")
CEILING = "hello"
QUIET_VARIATION = 1.1
"""By how much the fixed loop varies at most where the figures are worth reading (README.md)."""

_COLUMNS = {
    "tokens/s": ("rate", 0),
    "p50 ms": ("p50_ms", 1),
    "p99 ms": ("p99_ms", 1),
    "CPU µs a token": ("cpu_us", 0),
    "memory MiB": ("memory_mib", 0),
    "start s": ("start_seconds", 2),
}


def write_report(comparison: Comparison, plan: Plan, cores: Cores, folder: Path) -> str:
    """Write the section of the comparison and its plots into ``folder``, and return the section."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "## The token endpoint beside its peers",
        "",
        f"{CONNECTIONS} connections, `scope=Read`.",
    ]
    for algorithm in ALGORITHMS:
        lines += ["", *_of_one_algorithm(comparison.measurements, algorithm, folder)]
    lines += ["", "### Versions", "", *_versions(comparison)]
    noises = [one.noise for one in comparison.measurements]
    return put_section(folder, TOKENS, lines, cores, noises, plan)


def put_section(
    folder: Path,
    name: str,
    lines: Sequence[str],
    cores: Cores,
    noises: Sequence[Noise],
    plan: Plan,
    *,
    has_rounds: bool = True,
) -> str:
    """Write the section ``name`` of `RESULTS.md`, with its command, day, commit, machine and noise.

    ``has_rounds`` says whether the row is measured in rounds, as the plan has them.
    """
    day = time.strftime("%Y-%m-%d", time.gmtime())
    made = f"{day}, {commit()}, {description(cores)}. By `{plan.command}`"
    made += _rounds(plan) if has_rounds else "."
    section = "\n".join([*lines, "", made, "", *noise_lines(noises)])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RESULTS
    before = file.read_text() if file.exists() else HEAD
    file.write_text(with_section(before, name, section))
    return section


def _rounds(plan: Plan) -> str:
    rounds = f"; rounds: {plan.rounds}, of {plan.seconds:g} s"
    sample = " One round: no range, a sample." if plan.rounds == 1 else ""
    if not plan.is_too_short_for_compilers:
        return f"{rounds}.{sample}"
    cold = "Node and Java, where they are among these, were not at their speed yet"
    return f"{rounds}, after {plan.warm_up_seconds:g} s of warm-up: {cold}.{sample}"


def with_section(page: str, name: str, section: str) -> str:
    """Return ``page`` with ``section`` in place of its section ``name``, or at the end."""
    begin, end = f"<!-- row: {name} -->", f"<!-- end of row: {name} -->"
    block = f"{begin}\n\n{section}\n\n{end}"
    if begin not in page:
        return f"{page.rstrip()}\n\n{block}\n"
    head, _, rest = page.partition(begin)
    return head + block + rest.partition(end)[2]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [_row(head), "|---" * len(head) + "|", *map(_row, rows)]


def shown(spread: Spread, digits: int) -> str:
    """Return a median with its range; without it where all figures are one."""
    whole = f"{spread.median:.{digits}f}"
    if spread.lowest == spread.highest:
        return whole
    return f"{whole} ({spread.lowest:.{digits}f}–{spread.highest:.{digits}f})"  # noqa: RUF001


def noise_lines(noises: Sequence[Noise]) -> list[str]:
    """Return what else went on, over all measurements of a section: a warning and a table."""
    parts = {
        "the fixed loop before each measurement, ms": [one.calibration_ms for one in noises],
        "others on the server's cores, %": [one.others_percent for one in noises],
        "stolen by the hypervisor, %": [one.stolen_percent for one in noises],
        "the load itself on its core, %": [one.load_percent for one in noises],
        "load average": [one.load_average for one in noises],
    }
    rows = [(name, shown(Spread.of(figures), 1)) for name, figures in parts.items()]
    return [*_warning([one.calibration_ms for one in noises]), *table(("noise", ""), rows)]


def _warning(loops: Sequence[float]) -> list[str]:
    variation = max(loops) / min(loops)
    if variation <= QUIET_VARIATION:
        return []
    said = f"**The machine was not quiet (the fixed loop varied {variation:.1f}-fold): "
    return [said + "read the ratios, not the figures.**", ""]


def _of_one_algorithm(
    measurements: Sequence[Measurement], algorithm: str, folder: Path
) -> list[str]:
    chosen = [one for one in measurements if one.ask in (algorithm, CEILING)]
    by_peer: dict[str, list[Measurement]] = {}
    for one in sorted(chosen, key=lambda one: one.round):
        by_peer.setdefault(one.peer, []).append(one)
    rates = {peer: _spread(found, "rate") for peer, found in by_peer.items()}
    plot = f"tokens-{algorithm.lower()}.svg"
    (folder / plot).write_text(bars(f"{algorithm}: tokens/s on one core", rates, OURS))
    return [
        f"### {algorithm}",
        "",
        *table(
            ("server", *_COLUMNS),
            [(peer, *_figures(found)) for peer, found in by_peer.items()],
        ),
        "",
        "Ours divided by it, round for round; above 1 is good for tokens/s, below 1 for all else:",
        "",
        *table(
            ("server", *_COLUMNS),
            [
                (peer, *_ratios(by_peer[OURS], found))
                for peer, found in by_peer.items()
                if peer != OURS
            ],
        ),
        "",
        f"![{algorithm}: tokens per second]({plot})",
    ]


def _figures(found: Sequence[Measurement]) -> list[str]:
    return [shown(_spread(found, name), digits) for name, digits in _COLUMNS.values()]


def _ratios(ours: Sequence[Measurement], found: Sequence[Measurement]) -> list[str]:
    return [
        shown(ratios(_values(ours, name), _values(found, name)), 2) for name, _ in _COLUMNS.values()
    ]


def _spread(found: Sequence[Measurement], name: str) -> Spread:
    return Spread.of(_values(found, name))


def _values(found: Sequence[Measurement], name: str) -> list[float]:
    return [float(getattr(one, name)) for one in found]


def _versions(comparison: Comparison) -> list[str]:
    present = [f"- {peer}: {versions}" for peer, versions in comparison.versions.items()]
    missing = [f"- {peer}: left out, {why}" for peer, why in comparison.left_out.items()]
    return present + missing


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
