from typing import Any

import pytest
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span
from sqlalchemy import func, select, text
from sqlalchemy.event import listen

from client_service.app import ClientService
from client_service.arrow_events import (
    LONGEST_TEXT,
    MOST_EVENTS_OF_A_RUN,
    MOST_EVENTS_OF_A_SERVICE,
    MOST_PARAMETERS,
    ArrowEventProcessor,
    SpanEvent,
    events_of_run,
    store_events,
)
from client_service.models import ArrowEvent, Run
from client_service.runs import Trigger, find_run
from shared.arrows import Arrow, passed, refused
from shared.database import Database
from shared.tracing import span

TRACE = "ab" * 16


def run_with_trace(database: Database, trace_id: str = TRACE) -> Run:
    run = Run(id=trace_id, job="reconciliation", trigger="command", status="running", started=1.0)
    run.trace_id, run.merged_ticks = trace_id, 0
    with database.writing() as session:
        session.add(run)
    return run


def event(time: str = "t1", trace_id: str = TRACE, **changes: object) -> SpanEvent:
    attributes: dict[str, object] = {"outcome": "passed", "name": "ISSUE_TOKEN", "arrow": 3}
    attributes |= {"service": "auth_server", "time": time, **changes}
    return SpanEvent(trace_id, "cd" * 8, attributes)


def trace_of(opened: Span) -> str:
    return f"{opened.get_span_context().trace_id:032x}"


def stored(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(ArrowEvent)) or 0


@pytest.fixture
def provider(database: Database) -> TracerProvider:
    provider = TracerProvider(resource=Resource({"service.name": "client_service"}))
    provider.add_span_processor(ArrowEventProcessor(database))
    return provider


def test_the_arrows_of_a_run_are_told_in_their_order(service: ClientService) -> None:
    lease = service.schedules["reconcile"].take_now(Trigger.COMMAND)
    assert lease is not None
    service.worker.work(lease)
    run = find_run(service.database, lease.run_id)
    assert run is not None

    events = events_of_run(service.database, run)

    assert [event["arrow"] for event in events] == [1, 4, 4, 4, 4]
    assert {event["trace_id"] for event in events} == {run.trace_id}
    assert events[0]["parameters"]["client_secret"] == "(6 characters)"


def test_an_event_is_stored_with_the_fields_that_were_recorded(
    database: Database, provider: TracerProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "shared.arrows")
    with span(provider, "a run") as opened:
        context = opened.get_span_context()
        assert context is not None
        run = run_with_trace(database, f"{context.trace_id:032x}")
        passed(Arrow.REQUEST_TOKEN, method="POST", url="http://x/t", status=401, started=1.5)
        refused(401, "invalid_client", parameters={"scope": "openid"})

    recorded = [record.__dict__["event"] for record in caplog.records]
    assert events_of_run(database, run) == recorded


def test_an_event_that_is_delivered_twice_is_kept_once(database: Database) -> None:
    run_with_trace(database)

    store_events(database, [event(), event()])
    store_events(database, [event()])

    assert stored(database) == 1


def test_an_event_of_a_trace_that_is_no_run_is_not_kept(database: Database) -> None:
    run_with_trace(database)

    store_events(database, [event(trace_id="ef" * 16)])

    assert stored(database) == 0


def test_two_events_of_one_moment_stand_as_the_picture_has_them(database: Database) -> None:
    run = run_with_trace(database)
    given = [(3, "ISSUE_TOKEN"), (None, "REFUSED"), (1, "REQUEST_TOKEN")]

    store_events(database, [event(arrow=number, name=name) for number, name in given])

    names = [told["name"] for told in events_of_run(database, run)]
    assert names == ["REQUEST_TOKEN", "ISSUE_TOKEN", "REFUSED"]


def test_a_service_cannot_fill_the_database(database: Database) -> None:
    run_with_trace(database)

    store_events(database, [event(f"{n:03}") for n in range(80)])
    store_events(database, [event(f"{n:03}") for n in range(80, 160)])

    assert stored(database) == MOST_EVENTS_OF_A_SERVICE


def test_many_names_of_services_cannot_fill_it_either(database: Database) -> None:
    run_with_trace(database)

    store_events(database, [event(f"{n}", service=f"s{n}") for n in range(500)])

    assert stored(database) == MOST_EVENTS_OF_A_RUN


def test_a_run_that_takes_no_more_events_costs_the_database_nothing(
    database: Database, provider: TracerProvider
) -> None:
    statements: list[str] = []
    listen(database.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))

    def pages(count: int, parent: Context) -> int:
        before = len(statements)
        for _ in range(count):
            with provider.get_tracer("x").start_as_current_span("page", parent):
                passed(Arrow.READ_RESOURCE, status=200)
        return len(statements) - before

    with span(provider, "a run") as opened:
        run_with_trace(database, trace_of(opened))
        of_run = get_current()
    assert pages(MOST_EVENTS_OF_A_SERVICE, of_run) > 0
    pages(1, of_run)  # finds that there is no room

    assert pages(1, of_run) == 0
    with span(provider, "another run") as opened:
        run_with_trace(database, trace_of(opened))
        of_run = get_current()
    assert pages(1, of_run) > 0
    assert stored(database) == MOST_EVENTS_OF_A_SERVICE + 1


def test_what_is_no_field_of_an_event_falls_away() -> None:
    attributes: dict[str, Any] = {"name": "REFUSED", "arrow": "3", "status": float("nan")}
    attributes |= {"secret": "x", "duration_ms": 1.5, "parameters.scope": "openid"}

    fields = SpanEvent("t", "s", attributes).fields()

    assert fields == {
        "name": "REFUSED",
        "duration_ms": 1.5,
        "parameters": {"scope": "openid"},
        "trace_id": "t",
        "span_id": "s",
    }


def test_long_texts_many_parameters_and_whole_tokens_are_not_kept() -> None:
    token = f"eyJ{'a' * 40}.{'b' * 40}.{'c' * 40}"
    attributes = {f"parameters.{n}": "x\0" * LONGEST_TEXT for n in range(50)}

    fields = SpanEvent("t", "s", {"url": f"http://x/{token}", **attributes}).fields()

    assert fields["url"] == "http://x/eyJaaaaaaa… (125 characters)"
    assert len(fields["parameters"]) == MOST_PARAMETERS
    assert fields["parameters"]["0"] == "x" * (LONGEST_TEXT // 2)


def test_a_database_that_is_away_does_not_disturb_the_run(
    database: Database, provider: TracerProvider, caplog: pytest.LogCaptureFixture
) -> None:
    with database.writing() as session:
        session.execute(text("DROP TABLE arrow_event"))
        session.execute(text("DROP TABLE run"))

    with span(provider, "a run"):
        passed(Arrow.REQUEST_TOKEN)

    assert "arrow events are not stored" in caplog.text
