"""How results are printed: a sentence or, with `--json`, JSON, on standard output."""

import json

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_result(result: object, text: str, as_json: bool) -> None:
    """Print ``text``, or ``result`` as JSON."""
    click.echo(json.dumps(result, indent=2) if as_json else text)
