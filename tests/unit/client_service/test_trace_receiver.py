import gzip
import time
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from sqlalchemy import update

from client_service import trace_receiver
from client_service.app import ClientService
from client_service.models import Run
from client_service.runs import Trigger

TRACE = "ab" * 16
MEDIA_TYPE = "application/x-protobuf"


def attribute(name: str, **value: object) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(**value))  # type: ignore[arg-type]


def spans(
    span_id: bytes = b"12345678",
    name: str = "arrow.passed",
    service: str = "auth_server",
    arrow: int = 2,
) -> bytes:
    attributes = [
        attribute("outcome", string_value="passed"),
        attribute("name", string_value="VALIDATE_CLIENT"),
        attribute("service", string_value=service),
        attribute("time", string_value="2026-01-01T00:00:00.000000+00:00"),
        attribute("arrow", int_value=arrow),
        attribute("duration_ms", double_value=1.5),
        attribute("status", array_value=ArrayValue()),
    ]
    span = Span(
        trace_id=bytes.fromhex(TRACE),
        span_id=span_id,
        events=[Span.Event(name=name, attributes=attributes)],
    )
    scope = ScopeSpans(spans=[span])
    request = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[scope])])
    return bytes(request.SerializeToString())


@pytest.fixture
def run_id(receiving: Flask) -> str:
    service: ClientService = receiving.extensions["client_service"]
    lease = service.schedules["reconcile"].take_now(Trigger.COMMAND)
    assert lease is not None
    service.schedules["reconcile"].begin(lease, TRACE)
    return lease.run_id


@pytest.fixture
def receiving(make_app: Callable[..., Flask]) -> Flask:
    return make_app(receive_traces=True)


@pytest.fixture
def client(receiving: Flask) -> FlaskClient:
    return receiving.test_client()


def arrows(client: FlaskClient, run_id: str) -> list[dict[str, object]]:
    told: list[dict[str, object]] = client.get(f"/runs/{run_id}").get_json()["arrows"]
    return told


def test_an_arrow_event_of_another_service_is_told_with_its_run(
    client: FlaskClient, run_id: str
) -> None:
    answer = client.post("/v1/traces", data=spans(), content_type=MEDIA_TYPE)

    assert (answer.status_code, answer.mimetype, answer.data) == (200, MEDIA_TYPE, b"")
    assert arrows(client, run_id) == [
        {
            "outcome": "passed",
            "name": "VALIDATE_CLIENT",
            "service": "auth_server",
            "time": "2026-01-01T00:00:00.000000+00:00",
            "arrow": 2,
            "duration_ms": 1.5,
            "trace_id": TRACE,
            "span_id": b"12345678".hex(),
        }
    ]


def test_spans_may_be_packed(client: FlaskClient, run_id: str) -> None:
    headers = {"Content-Encoding": "gzip"}
    packed = gzip.compress(spans())

    answer = client.post("/v1/traces", data=packed, content_type=MEDIA_TYPE, headers=headers)

    assert answer.status_code == 200
    assert len(arrows(client, run_id)) == 1


class EndedSpans(SpanProcessor):
    def __init__(self) -> None:
        self.names: list[str] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.names.append(span.name)


def test_a_delivery_of_spans_opens_no_span_which_would_be_delivered_in_turn(
    receiving: Flask, client: FlaskClient
) -> None:
    ended = EndedSpans()
    receiving.extensions["client_service"].provider.add_span_processor(ended)

    client.post("/v1/traces", data=spans(), content_type=MEDIA_TYPE)
    client.get("/runs")

    assert ended.names == ["GET /runs"]


def test_other_events_are_forgotten(client: FlaskClient, run_id: str) -> None:
    client.post("/v1/traces", data=spans(name="exception"), content_type=MEDIA_TYPE)

    assert arrows(client, run_id) == []


def test_an_id_of_a_wrong_length_is_no_error(client: FlaskClient, run_id: str) -> None:
    answer = client.post("/v1/traces", data=spans(b"x" * 999), content_type=MEDIA_TYPE)

    assert answer.status_code == 200
    assert len(arrows(client, run_id)) == 1


@pytest.mark.parametrize(
    "body",
    [
        spans(service="client_service"),
        spans(service="client\0_service"),
        spans(arrow=1),
        spans(arrow=4),
    ],
    ids=["service", "service with a NUL", "arrow 1", "arrow 4"],
)
def test_what_starts_here_is_not_taken_from_others(
    client: FlaskClient, run_id: str, body: bytes
) -> None:
    answer = client.post("/v1/traces", data=body, content_type=MEDIA_TYPE)

    assert (answer.status_code, arrows(client, run_id)) == (200, [])


@pytest.mark.parametrize(("seconds", "told"), [(50, 1), (70, 0)], ids=["lately", "long ago"])
def test_to_a_run_that_ended_long_ago_nothing_is_added(
    client: FlaskClient, receiving: Flask, run_id: str, seconds: float, told: int
) -> None:
    service: ClientService = receiving.extensions["client_service"]
    with service.database.writing() as session:
        session.execute(update(Run).values(ended=time.time() - seconds))

    client.post("/v1/traces", data=spans(), content_type=MEDIA_TYPE)

    assert len(arrows(client, run_id)) == told


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "null"}],
    ids=["origin", "fetch metadata", "null"],
)
def test_a_web_page_reports_nothing_of_whatever_origin_it_is(
    client: FlaskClient, run_id: str, headers: dict[str, str]
) -> None:
    answer = client.post("/v1/traces", data=spans(), content_type=MEDIA_TYPE, headers=headers)

    assert (answer.status_code, arrows(client, run_id)) == (403, [])


@pytest.mark.parametrize(
    ("body", "media_type", "encoding", "status"),
    [
        (b"\xff\xff garbage", MEDIA_TYPE, "identity", 400),
        (b"garbage", MEDIA_TYPE, "gzip", 400),
        (gzip.compress(spans())[:-1], MEDIA_TYPE, "gzip", 400),
        (spans(), "application/json", "identity", 415),
        (spans(), "text/plain", "identity", 415),
        (spans(), MEDIA_TYPE, "br", 415),
        (b"x" * (trace_receiver.LONGEST_BODY_BYTES + 1), MEDIA_TYPE, "identity", 413),
        (gzip.compress(b"\0" * (trace_receiver.LONGEST_BODY_BYTES + 1)), MEDIA_TYPE, "gzip", 413),
    ],
    ids=["garbage", "not gzip", "cut", "json", "text", "brotli", "too long", "bomb"],
)
def test_what_is_no_delivery_of_spans_is_refused(
    client: FlaskClient, body: bytes, media_type: str, encoding: str, status: int
) -> None:
    answer = client.post(
        "/v1/traces", data=body, content_type=media_type, headers={"Content-Encoding": encoding}
    )

    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"


def test_unless_it_is_switched_on_there_is_no_receiver(app: Flask) -> None:
    answer = app.test_client().post("/v1/traces", data=spans(), content_type=MEDIA_TYPE)

    assert answer.status_code == 404
