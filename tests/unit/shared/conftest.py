import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

Logged = Callable[[], list[dict[str, Any]]]


class FinishedSpans(SpanProcessor):
    """Keeps the spans that have ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class Events(logging.Handler):
    """Keeps the events that were logged."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.events.append(record.__dict__["event"])


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Undo what a test configured."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def finished_spans() -> FinishedSpans:
    return FinishedSpans()


@pytest.fixture
def logged_events() -> Iterator[list[dict[str, Any]]]:
    logger, handler = logging.getLogger("shared.arrows"), Events()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.events
    logger.removeHandler(handler)
    logger.setLevel(level)
