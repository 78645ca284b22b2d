"""The query parameters of the pages, read strictly."""

import re
from typing import Final

from flask import abort, request

from shared.identifiers import is_identifier

DEFAULT_PAGE: Final = 100
LONGEST_PAGE: Final = 500
HIGHEST_NUMBER: Final = 10**18 - 1


def number(name: str, default: int, lowest: int = 0, highest: int = HIGHEST_NUMBER) -> int:
    """Return the query parameter ``name``; ASCII digits, as Python's `int` takes many more."""
    values = request.args.getlist(name) or [str(default)]
    is_number = len(values) == 1 and re.fullmatch(r"[0-9]{1,18}", values[0])
    if not is_number or not lowest <= int(values[0]) <= highest:
        abort(400, f"{name} must be one number from {lowest} to {highest}")
    return int(values[0])


def identifier(name: str) -> str:
    """Return the query parameter ``name``, the id of an account; empty where it is not there."""
    values = request.args.getlist(name) or [""]
    if len(values) != 1 or not (values[0] == "" or is_identifier(values[0])):
        abort(400, f"{name} must be the id of one account")
    return values[0]


def limit_of_a_page() -> int:
    """Return how many a page may hold, as `limit` says."""
    return number("limit", DEFAULT_PAGE, lowest=1, highest=LONGEST_PAGE)
