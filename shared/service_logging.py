"""Structured logs: one JSON object a line, joined to traces by their ids, without secrets."""

import json
import logging
import logging.config
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import orjson
from opentelemetry import trace

from shared import arrows
from shared.arrows import TOKEN_START_LENGTH
from shared.health import HEALTH_PATHS

# What no line of ours says is not looked for: thread, process, and the caller's line.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
logging._srcfile = None  # the logging HOWTO's own switch

LogRequests = Literal["refusals", "arrows", "access"]

ACCESS_LOG_FORMAT = "%(m)s %(U)s answered %(s)s in %(M)s ms"
"""gunicorn's access line. `U` is the path alone: a query string may hold credentials."""


def configure_logging(service: str, level: str, requests: LogRequests = "refusals") -> None:
    """Send every log line of this process to standard error, as JSON and redacted."""
    logging.config.dictConfig(logging_configuration(service, level, requests))


def logging_configuration(
    service: str, level: str, requests: LogRequests = "refusals"
) -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`, which gunicorn takes as well.

    ``level`` is the lowest that is logged; ``requests`` is the setting `log_requests`.
    """
    stderr = {"handlers": ["stderr"], "level": level, "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": RedactingJsonFormatter, "service": service}},
        "filters": {
            "silence": {"()": lambda: without_trace_of_silence},
            "health": {"()": lambda: is_no_passed_health_check},
        },
        "handlers": {"stderr": {"()": LineHandler, "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "gunicorn.error": stderr | {"filters": ["silence"]},
            "gunicorn.access": stderr | {"filters": ["health"]},
            # Who did what is no matter of how talkative the log is.
            "audit": stderr | {"level": "INFO"},
            # Of a request that goes well: two such lines cost a token as much as all of Flask does.
            arrows.__name__: {"level": _level_of_arrows(level, requests)},
            # At DEBUG Authlib logs whole tokens (RFC 6749 §10.3: they stay confidential).
            "authlib": {"level": "INFO" if level == "DEBUG" else level},
            # At DEBUG botocore logs whole answers, a secret's value too; so may what Azure's uses.
            "botocore": {"level": "INFO" if level == "DEBUG" else level},
            "msal": {"level": "WARNING"},
            "azure": {"level": "WARNING"},  # at INFO three lines a request
            "alembic": {"level": "WARNING"},  # a dozen lines on its plugins at every start
        },
    }


def _level_of_arrows(level: str, requests: LogRequests) -> str:
    """Return what is logged of the arrows: one that passes at INFO, a refusal at WARNING."""
    return level if requests == "arrows" or level == "ERROR" else "WARNING"


def log_event(log: logging.Logger, message: str, event: Mapping[str, object]) -> None:
    """Log ``event`` at INFO as ``log.info(message, extra={"event": event})``, in half the time."""
    if log.isEnabledFor(logging.INFO):
        log.handle(_EventRecord(log.name, message, event))


class _EventRecord(logging.LogRecord):
    _all_there_is = vars(logging.LogRecord("", logging.INFO, "", 0, "", None, None))

    def __init__(self, logger: str, message: str, event: Mapping[str, object]) -> None:
        # Not super's: it looks each time for thread, process, task and file, which no line tells.
        vars(self).update(self._all_there_is)
        now = time.time()
        self.name, self.msg, self.event = logger, message, event
        self.created, self.msecs = now, now % 1 * 1000 // 1  # whole ones, as logging has them


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error, which Python flushes at the end of each line: no need to ask it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of ``record``."""
        try:
            self.stream.write(self.format(record) + self.terminator)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - as logging has it: what logs does not fail for it
            self.handleError(record)


class RedactingJsonFormatter(logging.Formatter):
    """Formats a record as one JSON object, its texts redacted.

    The fields: `time`, `level`, `logger`, `service`, `message`, `trace_id` and `span_id` where a
    span is open, `exception` where one is logged, and those of the mapping that was logged as
    ``extra={"event": {...}}``, which win over the others, `time` and `level` too. By their names
    fields are not judged: who logs a secret as a field of its own shortens it (`arrows.shortened`).
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for ``record``."""
        second, fraction = divmod(record.created, 1)
        fields: dict[str, Any] = {
            "time": f"{_in_utc(int(second))}.{int(fraction * 1_000_000):06}+00:00",
            "level": record.levelname,
            "logger": record.name,
            "service": self._service,
            "message": record.getMessage(),
        }
        event: dict[str, Any] = getattr(record, "event", {})
        if "trace_id" not in event:
            context = trace.get_current_span().get_span_context()
            if context.is_valid:
                fields["trace_id"] = trace.format_trace_id(context.trace_id)
                fields["span_id"] = trace.format_span_id(context.span_id)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return _line(fields | event)


@lru_cache(maxsize=2)
def _in_utc(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _line(fields: dict[str, Any]) -> str:
    """Return ``fields`` as JSON in ASCII, redacted.

    One look at the whole line first: in most there is nothing to find.
    """
    try:
        line = orjson.dumps(fields, default=str, option=_AS_JSON_DOES).decode()
    except TypeError:  # half of a surrogate pair, or a number of more than 64 bits
        return _as_json(_redacted(fields))
    if line.isascii() and not _may_hold_one(line, _MARKS_IN_JSON):
        return line
    return _as_json(_redacted(orjson.loads(line)))  # what is no text or number is text by now


def without_trace_of_silence(record: logging.LogRecord) -> bool:
    """Let a connection that was given up be one line in the log: gunicorn adds a stack trace."""
    if record.exc_info and isinstance(record.exc_info[1], BlockingIOError):
        record.msg, record.args = "gave up a connection that fell silent in a request", ()
        record.exc_info = None
    return True


def is_no_passed_health_check(record: logging.LogRecord) -> bool:
    """Tell whether an access line is worth a place: platforms ask for health every few seconds."""
    atoms = record.args
    if not isinstance(atoms, Mapping):
        return True
    return not (atoms.get("U") in HEALTH_PATHS and atoms.get("s") == "200")


def redacted(text: str) -> str:
    """Return ``text`` with every token, secret and password in it shortened.

    The last line of defence: nobody should log one. It knows JWTs, secrets of ours, the
    Authorization header, credentials of forms and JSON, and passwords in URLs. It does not know
    a secret that stands alone and has no form of ours.
    """
    if not _may_hold_one(text, _MARKS):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _may_hold_one(text: str, marks: Sequence[str]) -> bool:
    """Tell whether ``text`` may hold a secret; the patterns take fifty times as long."""
    small = text.casefold()  # as the patterns, which take the long s for an s
    for mark in marks:  # noqa: SIM110 - `any` of a generator takes twice as long
        if mark in small:
            return True
    return False


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {name: _redacted(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(part) for part in value]
    return value


def _as_text(value: object) -> str:
    return redacted(str(value))


_as_json = json.JSONEncoder(default=_as_text, separators=(",", ":")).encode
_AS_JSON_DOES = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def _start_and_length(match: re.Match[str]) -> str:
    return f"{match.group()[:TOKEN_START_LENGTH]}… ({len(match.group())} characters)"


def _length(match: re.Match[str]) -> str:
    return f"{match.group('before')}({len(match.group('secret'))} characters)"


_MARKS = ("eyj", "ccs_", "=", "@", "'", '"', "basic", "bearer")
"""What each text has, in small letters, that one of the patterns below finds something in."""

_MARKS_IN_JSON = tuple(mark.replace('"', '\\"') for mark in _MARKS)
"""The same, in a line of JSON, where each name stands between quotes."""

_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    # A JWT, whole or cut: its header is a JSON object in base64url.
    (re.compile(r"eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)*"), _start_and_length),
    # A secret of ours, known by its prefix.
    (re.compile(r"(?P<before>)(?P<secret>ccs_[\w-]{16,})"), _length),
    # An Authorization header.
    (re.compile(r"(?i)(?P<before>\b(?:basic|bearer)\s+)(?P<secret>[\w.~+/=-]{12,})"), _length),
    # Credentials in a form, a URL or JSON.
    (
        re.compile(
            r"(?i)(?P<before>(?:client_secret|client_assertion|password|[a-z]*_?token)"
            r"(?:=|['\"]\s*:\s*b?['\"]))(?P<secret>[^\s&'\",}(]{8,})"
        ),
        _length,
    ),
    # A password in a URL.
    (re.compile(r"(?P<before>://[^/\s:@]*:)(?P<secret>[^/\s@]+)(?=@)"), _length),
)
