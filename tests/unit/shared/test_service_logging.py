import io
import json
import logging
import os
import select
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest

from shared.arrows import Arrow, passed, refused
from shared.service_logging import (
    LineHandler,
    LogRequests,
    RedactingJsonFormatter,
    configure_logging,
    is_no_passed_health_check,
    log_event,
    redacted,
    without_trace_of_silence,
)
from shared.tracing import span, tracer_provider

JWT = "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwOi8vbG9jYWxob3N0In0.c2lnbmF0dXJl"
SECRET = "ccs_" + "Ab3-_" * 9
SECONDS = 20
SAYS_HELLO_AND_WAITS = """
import logging, sys
from shared.service_logging import configure_logging
configure_logging("bank", "INFO")
logging.getLogger("bank").info("hello")
sys.stdin.read()
"""


class Said:
    """Something that JSON does not know, and whose text holds a secret."""

    def __init__(self, texts: list[str]) -> None:
        self.text = texts[0]

    def __str__(self) -> str:
        return self.text


@dataclass
class Credentials:
    """Something that does not show what it holds."""

    client_id: str
    client_secret: str = field(repr=False)


def formatted(message: str, **extra: Any) -> dict[str, Any]:
    record = logging.LogRecord("auth_server.app", logging.INFO, "app.py", 1, message, (), None)
    record.__dict__.update(extra)
    line: dict[str, Any] = json.loads(RedactingJsonFormatter("auth_server").format(record))
    return line


def test_a_line_is_a_json_object_with_time_level_logger_and_service() -> None:
    line = formatted("issued token to 'bank-reconciler'")

    assert line["message"] == "issued token to 'bank-reconciler'"
    assert (line["level"], line["logger"], line["service"]) == (
        "INFO",
        "auth_server.app",
        "auth_server",
    )
    assert line["time"].endswith("+00:00")


@pytest.mark.parametrize(
    ("created", "time"),
    [
        pytest.param(1767225599.25, "2025-12-31T23:59:59.250000+00:00", id="a quarter"),
        pytest.param(1767225600.015625, "2026-01-01T00:00:00.015625+00:00", id="zero in front"),
        pytest.param(1767225600, "2026-01-01T00:00:00.000000+00:00", id="no fraction"),
    ],
)
def test_the_time_of_a_line_is_exact_to_the_microsecond(created: float, time: str) -> None:
    assert formatted("hello", created=created)["time"] == time


def test_the_fields_of_an_event_stand_at_the_top_of_the_line() -> None:
    line = formatted("arrow 3 passed", event={"arrow": 3, "service": "bank"})

    assert (line["arrow"], line["service"]) == (3, "bank")


def test_a_line_written_within_a_span_carries_its_trace_id() -> None:
    with span(tracer_provider("auth_server"), "request") as opened:
        line = formatted("hello")

    assert int(line["trace_id"], 16) == opened.get_span_context().trace_id


def test_a_secret_in_an_exception_is_shortened() -> None:
    try:
        raise ValueError(f"bad answer: client_secret={SECRET}")
    except ValueError:
        line = formatted("failed", exc_info=sys.exc_info())

    assert SECRET not in line["exception"]
    assert "ValueError: bad answer" in line["exception"]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        pytest.param(f"token {JWT} issued", JWT, id="jwt"),
        pytest.param(f"secret {SECRET}", SECRET, id="secret of ours"),
        pytest.param("Authorization: Basic YmFuazpzZWNyZXRzZWNyZXQ=", "YmFuazpzZWNyZXRzZWNyZXQ=",
                     id="basic"),
        pytest.param("Authorization: bearer opaque-token-0123", "opaque-token-0123", id="bearer"),
        pytest.param("ba\u017fic opaque-token-0123", "opaque-token-0123", id="long s"),
        pytest.param("a=1&client_secret=correct%20horse%20battery&b=2",
                     "correct%20horse%20battery", id="form"),
        pytest.param('{"access_token": "opaque-token-0123"}', "opaque-token-0123", id="json"),
        pytest.param("{'password': b'opaque-token-0123'}", "opaque-token-0123", id="python"),
        pytest.param("postgresql://bank:hunter2@db/bank", "hunter2", id="url"),
        pytest.param("redis://:hunter2@counts", "hunter2", id="url without a name"),
    ],
)  # fmt: skip
def test_no_secret_reaches_a_line(text: str, secret: str) -> None:
    assert secret not in redacted(text)
    assert secret not in json.dumps(formatted("event", event={"parameters": {"x": text}}))


@pytest.mark.parametrize(
    "text",
    ["POST /oidc/token answered 200", "issued token to 'bank-reconciler'", "token_type: Bearer"],
    ids=["path", "message", "type"],
)
def test_a_line_without_a_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("\udc80", "\udc80", id="half a character"),
        pytest.param("Zürich", "Zürich", id="beyond ASCII"),
        pytest.param(2**70, 2**70, id="more than 64 bits"),
        pytest.param(Fraction(1, 3), "1/3", id="no type of JSON"),
        pytest.param(datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00+00:00", id="time"),
        pytest.param(["Zürich", float("nan")], ["Zürich", None], id="no number"),
        pytest.param({1: (2, None)}, {"1": [2, None]}, id="names that are no text"),
    ],
)
def test_whatever_a_field_is_there_is_a_line_in_ascii(value: object, shown: object) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "", (), None)
    record.event = {"field": value}
    line = RedactingJsonFormatter("auth_server").format(record)

    assert line.isascii()
    assert json.loads(line)["field"] == shown


@pytest.mark.parametrize(
    "holder",
    [list, tuple, lambda texts: {"in": {"deep": texts[0]}}, Said],
    ids=["list", "tuple", "mappings", "no type of JSON"],
)
def test_a_secret_is_shortened_wherever_it_stands(holder: Callable[[list[str]], object]) -> None:
    assert SECRET not in json.dumps(formatted("event", event={"held": holder([f"got {SECRET}"])}))


def test_what_an_object_does_not_show_of_itself_stands_in_no_line() -> None:
    held = Credentials("bank-reconciler", "of no form that is known")

    assert formatted("event", event={"held": held})["held"] == repr(held)


def test_an_event_has_all_that_other_formatters_ask_for(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("audit")
    with caplog.at_level(logging.INFO, "audit"):
        log_event(log, "token: issued", {"action": "token"})
        log.info("token: issued", extra={"event": {"action": "token"}})
    ours, their = caplog.records

    assert vars(ours).keys() == vars(their).keys()
    assert (ours.name, ours.levelname, ours.getMessage()) == ("audit", "INFO", "token: issued")
    assert 0 <= their.created - ours.created < 60
    assert 0 <= ours.created % 1 * 1000 - ours.msecs < 1
    with caplog.at_level(logging.WARNING, "audit"):
        log_event(log, "token: issued", {})
    assert len(caplog.records) == 2


def test_authlib_never_logs_at_debug_where_it_would_print_whole_tokens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging("auth_server", "DEBUG")
        logging.getLogger("authlib.oauth2").debug("Issue token {'opaque': 'abc'}")
        logging.getLogger("auth_server").debug("seen")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["seen"]


def test_a_connection_that_was_given_up_is_one_line_without_a_stack_trace() -> None:
    try:
        raise BlockingIOError("no bytes came")
    except BlockingIOError:
        record = logging.LogRecord("gunicorn.error", 40, "w.py", 1, "x", (), sys.exc_info())

    assert without_trace_of_silence(record) is True
    assert record.getMessage() == "gave up a connection that fell silent in a request"
    assert record.exc_info is None


def test_any_other_error_of_gunicorn_keeps_its_stack_trace() -> None:
    try:
        raise ValueError("a bug")
    except ValueError:
        record = logging.LogRecord("gunicorn.error", 40, "w.py", 1, "x", (), sys.exc_info())

    assert without_trace_of_silence(record) is True
    assert (record.getMessage(), record.exc_info is not None) == ("x", True)


@pytest.mark.parametrize(
    ("path", "status", "is_logged"),
    [("/readyz", "200", False), ("/readyz", "503", True), ("/account", "200", True)],
    ids=["passed check", "failed check", "request"],
)
def test_a_health_check_that_passes_has_no_access_line(
    path: str, status: str, is_logged: bool
) -> None:
    atoms = {"U": path, "s": status}
    record = logging.LogRecord("gunicorn.access", 20, "g.py", 1, "%(U)s", (atoms,), None)

    assert is_no_passed_health_check(record) is is_logged


def test_a_line_that_is_no_access_line_is_logged() -> None:
    record = logging.LogRecord("gunicorn.access", 20, "g.py", 1, "hello", (), None)

    assert is_no_passed_health_check(record) is True


@pytest.mark.parametrize(
    ("level", "requests", "logged"),
    [
        pytest.param("INFO", "refusals", ["refused: 401 x"], id="refusals"),
        pytest.param("INFO", "access", ["refused: 401 x"], id="access"),
        pytest.param("DEBUG", "refusals", ["refused: 401 x"], id="however talkative"),
        pytest.param(
            "INFO", "arrows", ["arrow 3 passed: Access Token", "refused: 401 x"], id="all"
        ),
        pytest.param("ERROR", "arrows", [], id="errors alone"),
    ],
)
def test_arrows_that_pass_are_logged_where_they_are_asked_for_and_refusals_in_any_case(
    restored_logging: None,
    capsys: pytest.CaptureFixture[str],
    level: str,
    requests: LogRequests,
    logged: list[str],
) -> None:
    configure_logging("auth_server", level, requests)
    passed(Arrow.ISSUE_TOKEN)
    refused(401, "x")

    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == logged


def test_a_line_can_be_read_as_soon_as_it_is_logged() -> None:
    command = [sys.executable, "-c", SAYS_HELLO_AND_WAITS]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stderr is not None
        ready, _, _ = select.select([process.stderr], [], [], SECONDS)
        read = os.read(process.stderr.fileno(), 65536) if ready else b""
        is_running = process.poll() is None
        process.communicate(timeout=SECONDS)

    assert read.endswith(b"\n")
    assert (json.loads(read)["message"], is_running) == ("hello", True)


class FullDisk(io.StringIO):
    """Takes nothing."""

    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


class BrokenFormatter(logging.Formatter):
    """Formats nothing."""

    def format(self, _record: logging.LogRecord) -> str:
        raise KeyError("no such field")


@pytest.mark.parametrize("says_so", [True, False], ids=["says-so", "silent"])
@pytest.mark.parametrize(
    ("stream", "formatter", "message", "reason"),
    [
        pytest.param(FullDisk(), logging.Formatter(), "hello", "No space left", id="stream"),
        pytest.param(io.StringIO(), BrokenFormatter(), "hello", "no such field", id="formatter"),
        pytest.param(io.StringIO(), RedactingJsonFormatter("x"), "%d", "%d format", id="message"),
    ],
)
def test_whoever_logs_does_not_fail_for_it_and_logging_says_so_where_it_is_to(
    stream: io.StringIO,
    formatter: logging.Formatter,
    message: str,
    reason: str,
    says_so: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", says_so)
    handler = LineHandler(stream)
    handler.setFormatter(formatter)
    log = logging.Logger("alone")
    log.addHandler(handler)
    log.info(message, *(["no number"] if "%" in message else []))
    said = capsys.readouterr().err

    assert stream.getvalue() == ""
    assert ("Logging error" in said, reason in said) == (says_so, says_so)


def test_what_is_logged_after_a_line_that_failed_is_written() -> None:
    stream = io.StringIO()
    log = logging.Logger("alone")
    log.addHandler(LineHandler(stream))
    for number in ("one", 1, 2):
        log.info("%d", number)

    assert stream.getvalue() == "1\n2\n"
