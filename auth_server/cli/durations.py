"""Durations on the command line: `90s`, `15m`, `24h`, `7d`."""

import re

import click

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_SECONDS = 366 * SECONDS["d"]

_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)


def duration(text: str) -> int:
    """Return the seconds of a whole number of seconds, minutes, hours or days.

    Raises click.BadParameter where it is none, or longer than a year.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration: a number and s, m, h or d, as 24h")
    seconds = int(found[1]) * SECONDS[found[2]]
    if seconds > LONGEST_SECONDS:
        raise click.BadParameter(f"{text!r} is longer than a year")
    return seconds
