"""The five arrows of diagrams/client_credentials.puml, and the one source of events.

`passed` says that what the picture shows on an arrow has happened; `refused` that an error was
answered instead. Each writes one log line and one event on the current OpenTelemetry span.
Narration, pages and tests read these events and nothing else.
"""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum

from opentelemetry import trace

log = logging.getLogger(__name__)

TOKEN_START_LENGTH = 10
LONGEST_PARAMETER = 200

SECRET_PARAMETERS = frozenset({"client_secret"})
TOKEN_PARAMETERS = frozenset({"access_token", "id_token", "token", "client_assertion"})


class Arrow(Enum):
    """An arrow of the diagram: its number, where it starts, where it ends and its words."""

    REQUEST_TOKEN = (1, "C", "Oauth", "Request Access Token (ClientId, Client secret)")
    VALIDATE_CLIENT = (2, "Oauth", "Oauth", "Validate ClientId & Client Secret")
    ISSUE_TOKEN = (3, "Oauth", "C", "Access Token")
    READ_RESOURCE = (4, "C", "R", "Read Resource (token)")
    RETURN_RESOURCE = (5, "R", "C", "Resource content")

    def __init__(self, number: int, source: str, target: str, words: str) -> None:
        self.number = number
        self.source = source
        self.target = target
        self.words = words


def passed(
    arrow: Arrow,
    *,
    method: str | None = None,
    url: str | None = None,
    status: int | None = None,
    parameters: Mapping[str, object] | None = None,
    started: float | None = None,
) -> None:
    """Record that ``arrow`` has passed.

    ``started`` is the wall-clock time in seconds (`time.time`) at which the arrow set out, where
    that is not now: the event then carries that time, and how long the arrow took.
    Parameters that are a token or a secret are shortened here, whoever the caller is.
    """
    if not log.isEnabledFor(logging.INFO) and not trace.get_current_span().is_recording():
        return
    fields = {
        "arrow": arrow.number,
        "name": arrow.name,
        "method": method,
        "url": without_query(url),
    }
    fields |= {"status": status, "parameters": shortened(parameters)}
    message = f"arrow {arrow.number} passed: {arrow.words}"
    log.info(message, extra={"event": _recorded("passed", fields, started)})


def refused(
    status: int,
    error: str,
    *,
    method: str | None = None,
    url: str | None = None,
    parameters: Mapping[str, object] | None = None,
    started: float | None = None,
) -> None:
    """Record that the error ``error`` was answered with HTTP ``status``, in place of an arrow.

    A refusal names no arrow: it stands after the last one that passed.
    """
    fields: dict[str, object] = {
        "name": "REFUSED",
        "method": method,
        "url": without_query(url),
        "status": status,
    }
    fields |= {"error": error, "parameters": shortened(parameters)}
    message = f"refused: {status} {error}"
    log.warning(message, extra={"event": _recorded("refused", fields, started)})


def shortened(parameters: Mapping[str, object] | None) -> dict[str, str] | None:
    """Return ``parameters`` fit to be shown: no token, no secret and nothing long stands whole."""
    if parameters is None:
        return None
    return {name: _shortened(name, str(value)) for name, value in parameters.items()}


def without_query(url: str | None) -> str | None:
    """Return ``url`` up to its query, where credentials may have been put by mistake."""
    return url.partition("?")[0] if url else url


def _shortened(name: str, value: str) -> str:
    if name in SECRET_PARAMETERS:
        return f"({len(value)} characters)"
    if name in TOKEN_PARAMETERS:
        return f"{value[:TOKEN_START_LENGTH]}… ({len(value)} characters)"
    return value if len(value) <= LONGEST_PARAMETER else f"{value[:LONGEST_PARAMETER]}…"


def _recorded(
    outcome: str, fields: Mapping[str, object], started: float | None
) -> dict[str, object]:
    """Put the event on the current span, and return it for the log."""
    span = trace.get_current_span()
    context = span.get_span_context()
    set_out = time.time() if started is None else started
    event: dict[str, object] = {"outcome": outcome, **fields}
    if started is not None:
        event["duration_ms"] = round((time.time() - started) * 1000, 2)
    event["trace_id"] = trace.format_trace_id(context.trace_id)
    event["span_id"] = trace.format_span_id(context.span_id)
    event["time"] = datetime.fromtimestamp(set_out, UTC).isoformat(timespec="microseconds")
    event = {name: value for name, value in event.items() if value is not None}
    if span.is_recording():  # else nobody receives it
        event["service"] = _service_of(span)
        span.add_event(f"arrow.{outcome}", _attributes(event), timestamp=int(set_out * 1e9))
    return event


def _service_of(span: trace.Span) -> str:
    """Return the name of the service whose span this is; empty where another SDK made the span."""
    resource = getattr(span, "resource", None)
    return str(resource.attributes["service.name"]) if resource else ""


def _attributes(event: Mapping[str, object]) -> dict[str, str | int | float]:
    """Return ``event`` as OpenTelemetry attributes: ``parameters`` flat, as ``parameters.NAME``."""
    flat: dict[str, str | int | float] = {}
    for name, value in event.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{part}": str(text) for part, text in value.items()}
        else:
            flat[name] = value if isinstance(value, int | float) else str(value)
    return flat
