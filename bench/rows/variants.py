"""A server in several forms, measured in turn and shown against the first of them."""

from collections.abc import Sequence
from pathlib import Path

from bench.comparison import Measurement, compare
from bench.launch import Peer
from bench.machine import Cores
from bench.measuring import Noise
from bench.plan import Plan
from bench.report import put_section, shown, table
from bench.spread import Spread, ratios

COLUMNS = {
    "tokens/s": ("rate", 0),
    "p50 ms": ("p50_ms", 1),
    "p99 ms": ("p99_ms", 1),
    "CPU µs a token": ("cpu_us", 0),
    "memory MiB": ("memory_mib", 0),
}


def measure_variants(
    name: str, lines: Sequence[str], variants: Sequence[Peer], plan: Plan, cores: Cores, out: Path
) -> str:
    """Measure ``variants``, write the section ``name`` below ``lines``, and return it."""
    shown_below, noises = table_of(variants, plan, cores)
    return put_section(out, name, [*lines, "", *shown_below], cores, noises, plan)


def table_of(variants: Sequence[Peer], plan: Plan, cores: Cores) -> tuple[list[str], list[Noise]]:
    """Measure ``variants``; return the lines of their table, and the noise."""
    comparison = compare(variants, plan, cores)
    found: dict[tuple[str, str], list[Measurement]] = {}
    for one in sorted(comparison.measurements, key=lambda one: one.round):
        found.setdefault((one.peer, one.ask), []).append(one)
    head = ("form", "algorithm", *COLUMNS, "against the first")
    rows = [(*key, *_figures(one), _ratio(found, key)) for key, one in found.items()]
    missing = [f"- {peer}: left out, {why}" for peer, why in comparison.left_out.items()]
    lines = [*table(head, rows), *([""] if missing else []), *missing]
    return lines, [one.noise for one in comparison.measurements]


def _figures(found: Sequence[Measurement]) -> list[str]:
    return [
        shown(Spread.of(getattr(one, name) for one in found), digits)
        for name, digits in COLUMNS.values()
    ]


def _ratio(found: dict[tuple[str, str], list[Measurement]], key: tuple[str, str]) -> str:
    """Return the rate of a form, divided by that of the first one with its algorithm."""
    first = next(one for other, one in found.items() if other[1] == key[1])
    return shown(ratios([one.rate for one in found[key]], [one.rate for one in first]), 2)
