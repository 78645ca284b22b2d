"""Asking before something is destroyed for good."""

import sys

import click

yes = click.option("--yes", is_flag=True, help="Do it without a question.")


def confirm(cost: str, yes: bool) -> None:
    """Return where the operator agrees to ``cost``, by `--yes` or on the terminal.

    Without a terminal nobody can agree: that is wrong usage. A no ends the command.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{cost}. There is no terminal to ask on: say --yes")
    click.confirm(f"{cost}. Go on?", abort=True, err=True)
