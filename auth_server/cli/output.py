"""How results are printed: a table or, with `--json`, JSON, on standard output."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def print_object(row: Mapping[str, object], as_json: bool) -> None:
    """Print one object: a line for each member, or JSON."""
    if as_json:
        click.echo(json.dumps(row))
        return
    width = max(map(len, row))
    for name, value in row.items():
        click.echo(f"{name:<{width}}  {_text(value)}".rstrip())


def print_rows(rows: Sequence[Mapping[str, object]], as_json: bool) -> None:
    """Print a table with a line for each row, or JSON."""
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo("none")
        return
    table = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {' '.join(part)}" for name, part in value.items())
    return "-" if value is None else str(value)


def date(seconds: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC; None where there is none."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
