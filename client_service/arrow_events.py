"""Arrow events of the runs: stored as this process' spans end, or as other services report them.

They are what `shared.arrows` recorded, and nothing else; `GET /runs/{id}` shows them.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from sqlalchemy import func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from client_service.models import ArrowEvent, Run, insert_if_absent
from shared.database import Database
from shared.service_logging import redacted

log = logging.getLogger(__name__)

EVENT_NAMES = frozenset({"arrow.passed", "arrow.refused"})
TEXT_FIELDS = ("outcome", "name", "service", "method", "url", "error", "time")
NUMBER_FIELDS = ("arrow", "status", "duration_ms")
PARAMETERS = "parameters."
LONGEST_TEXT = 500
MOST_PARAMETERS = 30
MOST_EVENTS_OF_A_SERVICE = 100
"""A run reads many pages; the first hundred events of each service tell how it went."""
MOST_EVENTS_OF_A_RUN = 400
FULL_RUNS_REMEMBERED = 16
OWN_ARROWS = frozenset({1, 4})
"""Those that start here: what another service says of them is not believed."""
REPORTED_WITHIN_SECONDS = 60
"""How long after the end of a run the other services may still report what belongs to it."""


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """An event as a span carries it: its attributes flat."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, object]

    def fields(self) -> dict[str, Any]:
        """Return the event's fields, `parameters` as a mapping; what is none of them falls away.

        Whoever sent it shortened tokens and secrets already; a whole one is not kept here either.
        """
        texts = {name: _text(self.attributes[name]) for name in self._known(TEXT_FIELDS)}
        numbers = {
            name: value
            for name in self._known(NUMBER_FIELDS)
            if isinstance(value := self.attributes[name], int | float) and math.isfinite(value)
        }
        given = [name for name in self.attributes if name.startswith(PARAMETERS)]
        parameters = {
            name.removeprefix(PARAMETERS)[:100]: _text(self.attributes[name])
            for name in given[:MOST_PARAMETERS]
        }
        ids = {"trace_id": self.trace_id, "span_id": self.span_id}
        return texts | numbers | ({"parameters": parameters} if parameters else {}) | ids

    def _known(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name in self.attributes]


def events_of_run(database: Database, run: Run) -> list[dict[str, Any]]:
    """Return the events of the run's trace, in the order of their times."""
    with database.reading() as session:
        of_run = select(ArrowEvent.fields).where(ArrowEvent.trace_id == run.trace_id)
        events = list(session.scalars(of_run))
    # Two of the same microsecond stand as the picture has them; a refusal comes after an arrow.
    return sorted(events, key=lambda event: (event["time"], event.get("arrow", 9)))


def store_events(database: Database, events: Sequence[SpanEvent]) -> set[str]:
    """Store those of ``events`` that belong to a run: each once, and a bounded number.

    Return the traces of the runs in which one had no room: of its service, they take no more.
    """
    if not events:
        return set()
    with database.writing() as session:
        traces = {event.trace_id for event in events}
        known = set(session.scalars(select(Run.trace_id).where(Run.trace_id.in_(traces))))
        rows = [_row(event) for event in events if event.trace_id in known]
        counted = select(ArrowEvent.trace_id, ArrowEvent.service, func.count()).where(
            ArrowEvent.trace_id.in_(known)
        )
        counts: dict[tuple[str, str], int] = {}
        for trace_id, service, count in session.execute(counted.group_by("trace_id", "service")):
            counts[trace_id, service] = count
        judged = [(row, _has_room(row, counts)) for row in rows]
        insert_if_absent(session, ArrowEvent, [row for row, fits in judged if fits])
    return {row["trace_id"] for row, fits in judged if not fits}


def store_reported_events(
    database: Database,
    events: Sequence[SpanEvent],
    own_service: str,
    now: Callable[[], float] = time.time,
) -> None:
    """Store what other services report, as `store_events` does, and believe as little as will do.

    Nothing that ``own_service`` itself records, and nothing of a run that ended long ago: who can
    send here may add to a run under way, and changes no other. What belongs to no such run costs
    one reading of the database.
    """
    foreign = [event for event in events if not _is_our_own(event, own_service)]
    traces = {event.trace_id for event in foreign}
    with database.reading() as session:
        is_open = or_(Run.ended.is_(None), Run.ended > now() - REPORTED_WITHIN_SECONDS)
        known = select(Run.trace_id).where(Run.trace_id.in_(traces), is_open)
        open_traces = set(session.scalars(known))
    store_events(database, [event for event in foreign if event.trace_id in open_traces])


def _is_our_own(event: SpanEvent, own_service: str) -> bool:
    """Judge what would be stored: a text loses its NULs on the way there."""
    fields = event.fields()
    return fields.get("arrow") in OWN_ARROWS or fields.get("service") == own_service


class ArrowEventProcessor(SpanProcessor):
    """Stores the arrow events of this process' own spans, as each span ends.

    A run that takes no more of them is remembered: it may read thousands of pages.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._full: deque[str] = deque(maxlen=FULL_RUNS_REMEMBERED)

    def on_end(self, span: ReadableSpan) -> None:
        """Store the events of ``span``; a database that is away does not disturb the run."""
        context = span.get_span_context()
        if context is None:
            return
        trace_id = trace.format_trace_id(context.trace_id)
        if trace_id in self._full:
            return
        span_id = trace.format_span_id(context.span_id)
        events = [
            SpanEvent(trace_id, span_id, dict(event.attributes or {}))
            for event in span.events
            if event.name in EVENT_NAMES
        ]
        try:
            self._full.extend(store_events(self._database, events))
        except SQLAlchemyError as error:
            log.warning("arrow events are not stored: %s", type(error).__name__)


def _row(event: SpanEvent) -> dict[str, Any]:
    fields = {"time": "", "name": "", "service": ""} | event.fields()
    return {
        "trace_id": event.trace_id,
        "span_id": event.span_id[:16],
        "time": fields["time"][:40],
        "name": fields["name"][:32],
        "service": fields["service"][:64],
        "fields": fields,
    }


def _has_room(row: Mapping[str, Any], counts: dict[tuple[str, str], int]) -> bool:
    """Tell whether the run may have one more event of this service, and count it."""
    trace_id, service = row["trace_id"], row["service"]
    of_run = sum(count for (of_trace, _service), count in counts.items() if of_trace == trace_id)
    of_service = counts.get((trace_id, service), 0)
    if of_service >= MOST_EVENTS_OF_A_SERVICE or of_run >= MOST_EVENTS_OF_A_RUN:
        return False
    counts[trace_id, service] = of_service + 1
    return True


def _text(value: object) -> str:
    """Return ``value`` as a text that may be shown and stored: PostgreSQL takes no NUL."""
    return redacted(str(value)[:LONGEST_TEXT].replace("\0", ""))
