"""Finds arrow events in the logs of the services: one JSON object a line."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from shared.arrows import Arrow


@dataclass(frozen=True)
class ArrowEvent:
    """An arrow that passed, or a refusal, as `shared.arrows` wrote it (its fields, by name)."""

    outcome: str
    name: str
    service: str
    trace_id: str
    time: str
    arrow: int | None = None
    method: str | None = None
    url: str | None = None
    status: int | None = None
    error: str | None = None
    duration_ms: float | None = None
    parameters: dict[str, str] | None = None

    @classmethod
    def of(cls, line: dict[str, Any]) -> Self:
        """Return the event of a parsed log line; what else stands in the line is left out."""
        return cls(**{name: line[name] for name in cls.__dataclass_fields__ if name in line})


def log_lines(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Return the log lines in ``texts``, oldest first; what is no JSON object is passed over."""
    lines = [line for text in texts for line in map(_parsed, text.splitlines()) if line]
    return sorted(lines, key=lambda line: str(line.get("time", "")))


def arrow_events(texts: Iterable[str], trace_id: str) -> list[ArrowEvent]:
    """Return the arrow events of one trace, in the order in which they set out."""
    return [
        ArrowEvent.of(line)
        for line in log_lines(texts)
        if line.get("trace_id") == trace_id and {"outcome", "name"} <= line.keys()
    ]


def arrows_passed(events: Iterable[ArrowEvent]) -> list[Arrow]:
    """Return the arrows that passed, each once, in the order of their first time."""
    by_number = {arrow.number: arrow for arrow in Arrow}
    numbers = dict.fromkeys(event.arrow for event in events if event.arrow is not None)
    return [by_number[number] for number in numbers]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
