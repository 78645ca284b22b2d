"""How results are printed: a table or, with `--json`, JSON, on standard output."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain, islice

import click

from auth_server import audit

ROWS_THAT_SET_THE_WIDTHS = 500
IDENTIFIERS = ("client_id", "secret_id", "kid")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def print_object(row: Mapping[str, object], as_json: bool) -> None:
    """Print one object: a line for each member, or JSON.

    What it identifies is the result of the command, and stands in the audit trail too.
    """
    audit.note(**{name: row[name] for name in IDENTIFIERS if name in row})
    if as_json:
        click.echo(json.dumps(row))
        return
    width = max(map(len, row))
    for name, value in row.items():
        click.echo(f"{name:<{width}}  {_text(value)}".rstrip())


def print_rows(rows: Iterable[Mapping[str, object]], as_json: bool) -> None:
    """Print a table with a line for each row, or JSON, while the rows come."""
    if as_json:
        _print_array(rows)
        return
    left = iter(rows)
    first = list(islice(left, ROWS_THAT_SET_THE_WIDTHS))
    if not first:
        click.echo("none")
        return
    table = [list(first[0]), *map(_cells, first)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in chain(table, map(_cells, left)):
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _print_array(rows: Iterable[Mapping[str, object]]) -> None:
    """Print a JSON array, one row after the other."""
    separator = ""
    click.echo("[", nl=False)
    for row in rows:
        click.echo(separator + json.dumps(row), nl=False)
        separator = ", "
    click.echo("]")


def _cells(row: Mapping[str, object]) -> list[str]:
    return [_text(value) for value in row.values()]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {' '.join(part)}" for name, part in value.items())
    return "-" if value is None else str(value)


def date(seconds: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC; None where there is none."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
