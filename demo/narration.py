"""Tells a run of the flow from its arrow events: nothing here knows what should have happened."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from demo.event_log import ArrowEvent
from shared.arrows import Arrow

PARTICIPANTS = {"C": "Client", "Oauth": "Authorization Server", "R": "Resource Server"}
INDENT = "       "


def narrate(events: Sequence[ArrowEvent]) -> str:
    """Return the arrows of one run, a paragraph each, and the refusal if there was one.

    An arrow that passed more than once, as 4 and 5 do for each page of transactions, is told the
    first time and counted at the end.
    """
    told: set[int | None] = set()
    paragraphs = []
    for event in events:
        if event.outcome == "refused" or event.arrow not in told:
            paragraphs.append(_refusal(event) if event.outcome == "refused" else _arrow(event))
        told.add(event.arrow)
    again = _repeated(events)
    return "\n\n".join([*paragraphs, *([again] if again else [])])


def missing(events: Sequence[ArrowEvent]) -> list[Arrow]:
    """Return the arrows of the diagram that did not pass."""
    passed = {event.arrow for event in events}
    return [arrow for arrow in Arrow if arrow.number not in passed]


def _arrow(event: ArrowEvent) -> str:
    arrow = next(arrow for arrow in Arrow if arrow.number == event.arrow)
    way = PARTICIPANTS[arrow.source]
    if arrow.target != arrow.source:
        way += f" → {PARTICIPANTS[arrow.target]}"
    heading = f"  {arrow.number}  {way}: {arrow.words}"
    return "\n".join([heading, *_details(event)])


def _refusal(event: ArrowEvent) -> str:
    heading = f"  ✗  refused by {event.service}: {event.status} {event.error}"
    return "\n".join([heading, *_details(event)])


def _details(event: ArrowEvent) -> list[str]:
    lines = []
    if event.method and event.url:
        address = urlsplit(event.url)
        lines.append(
            f"{INDENT}{event.method} {address.path or '/'} HTTP/1.1   Host: {address.netloc}"
        )
    elif event.status:
        lines.append(f"{INDENT}HTTP/1.1 {event.status}")
    lines += [f"{INDENT}{name}: {value}" for name, value in (event.parameters or {}).items()]
    return lines


def _repeated(events: Sequence[ArrowEvent]) -> str:
    numbers = [event.arrow for event in events if event.arrow is not None]
    counts = {number: numbers.count(number) - 1 for number in dict.fromkeys(numbers)}
    again = [f"arrow {number} {count} more" for number, count in counts.items() if count]
    return f"  …  then {', '.join(again)}: the pages of transactions" if again else ""
