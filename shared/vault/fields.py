"""The fields of an entry as one JSON object: the form in which a cloud's vault keeps them.

One secret for all of them, so that id and secret are always read from one version.
"""

import json
from collections.abc import Mapping


def fields_as_text(fields: Mapping[str, str]) -> str:
    """Return the JSON object that holds ``fields``."""
    return json.dumps(dict(fields))


def fields_in(text: object) -> dict[str, str]:
    """Return the fields in ``text``; raise ValueError, which shows nothing of it, if it has none.

    An entry that a person wrote may hold anything: a number, a list, no JSON at all.
    """
    try:
        fields = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        fields = None  # raised below, without a cause: the cause holds the text
    if not isinstance(fields, dict):
        raise ValueError("no JSON object")
    if not all(isinstance(value, str) for value in fields.values()):
        raise ValueError("a field that is no text")
    return fields
