from collections.abc import Iterator
from typing import Any

import pytest
import requests
from flask import Flask
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared.arrows import Arrow, passed
from shared.tracing import current_trace_id, span, trace_requests, tracer_provider
from shared.tracing_adapter import TracingAdapter
from tests.stack.loopback import LoopbackServer, Reply

CALLERS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def traced_app(finished_spans: Any) -> Flask:
    app = Flask("test")
    trace_requests(app, tracer_provider("bank", finished_spans))

    @app.get("/account")
    def account() -> str:
        return current_trace_id()

    return app


@pytest.mark.parametrize("flags", ["01", "00"], ids=["sampled", "not sampled"])
def test_a_request_goes_on_in_its_callers_trace_whatever_the_sampling_flag(
    flags: str, finished_spans: Any
) -> None:
    client = traced_app(finished_spans).test_client()

    answer = client.get(
        "/account", headers={"traceparent": f"00-{CALLERS_TRACE}-00f067aa0ba902b7-{flags}"}
    )

    assert answer.text == CALLERS_TRACE
    assert len(finished_spans.spans) == 1


def test_a_malformed_traceparent_begins_a_new_trace(finished_spans: Any) -> None:
    answer = (
        traced_app(finished_spans)
        .test_client()
        .get("/account", headers={"traceparent": "00-zz-\xff-01"})
    )

    assert int(answer.text, 16) != 0


def test_a_span_names_route_and_status_and_no_query(finished_spans: Any) -> None:
    traced_app(finished_spans).test_client().get("/account?access_token=abc")

    span = finished_spans.spans[0]
    assert span.name == "GET /account"
    assert span.attributes == {
        "http.request.method": "GET",
        "url.path": "/account",
        "http.response.status_code": 200,
    }


def test_where_nobody_receives_spans_a_request_has_its_ids_all_the_same() -> None:
    app = Flask("test")
    trace_requests(app, tracer_provider("bank"))
    app.add_url_rule("/", view_func=lambda: [current_trace_id(), is_recording()])
    get = app.test_client().get

    assert get("/", headers={"traceparent": f"00-{CALLERS_TRACE}-00f067aa0ba902b7-01"}).json == [
        CALLERS_TRACE,
        False,
    ]
    assert int(get("/").text[2:34], 16) != 0


def is_recording() -> bool:
    return trace.get_current_span().is_recording()


def test_after_a_request_no_span_is_open(finished_spans: Any) -> None:
    traced_app(finished_spans).test_client().get("/account")

    assert current_trace_id() == "0" * 32


def test_what_other_tracers_wrote_goes_along_where_nobody_receives_spans() -> None:
    app = Flask("test")
    trace_requests(app, tracer_provider("bank"))

    @app.get("/account")
    def account() -> str:
        return trace.get_current_span().get_span_context().trace_state.to_header()

    sent = {"traceparent": f"00-{CALLERS_TRACE}-00f067aa0ba902b7-01", "tracestate": "other=1"}

    assert app.test_client().get("/account", headers=sent).text == "other=1"


def test_the_adapter_sends_the_current_trace_along() -> None:
    request = requests.Request("GET", "http://localhost").prepare()
    with span(tracer_provider("client"), "run") as opened:
        TracingAdapter().add_headers(request)

    expected = f"00-{opened.get_span_context().trace_id:032x}-"
    assert request.headers["traceparent"].startswith(expected)


@pytest.fixture
def receiver() -> Iterator[LoopbackServer]:
    """What takes spans by OTLP over HTTP."""
    with LoopbackServer() as running:
        running.reply("/v1/traces", Reply(headers={"Content-Type": "application/x-protobuf"}))
        yield running


def delivered(receiver: LoopbackServer) -> list[tuple[str, str, list[str]]]:
    """Return of each span that arrived its service, its name and the names of its events."""
    requests = [ExportTraceServiceRequest.FromString(asked.body) for asked in receiver.asked]
    return [
        (attribute.value.string_value, span.name, [event.name for event in span.events])
        for request in requests
        for resource in request.resource_spans
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def do_a_run(service: str = "client_service") -> str:
    """Open a span with an arrow in it, hand over what is to be exported; return the trace's id."""
    provider = tracer_provider(service)
    with span(provider, "run"):
        passed(Arrow.REQUEST_TOKEN, method="POST", url="http://localhost/token", status=200)
        trace_id = current_trace_id()
    provider.shutdown()
    return trace_id


RUN = ("client_service", "run", ["arrow.passed"])


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}"}, [RUN]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{receiver}/v1/traces"}, [RUN]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}", "OTEL_TRACES_EXPORTER": "otlp"}, [RUN]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}", "OTEL_SDK_DISABLED": "true"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}", "OTEL_SDK_DISABLED": "false"}, [RUN]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}", "OTEL_TRACES_SAMPLER": "always_off"}, []),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}",
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "0",
            },
            [],
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}", "OTEL_SERVICE_NAME": "night-job"},
            [("night-job", "run", ["arrow.passed"])],
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "{receiver}",
                "OTEL_RESOURCE_ATTRIBUTES": "service.name=from-attributes,deployment=test",
            },
            [("from-attributes", "run", ["arrow.passed"])],
        ),
    ],
    ids=[
        "nothing is set",
        "endpoint",
        "endpoint of traces",
        "exporter otlp",
        "exporter none",
        "sdk disabled",
        "sdk not disabled",
        "sampler always_off",
        "sampler ratio 0",
        "service name",
        "resource attributes",
    ],
)
def test_the_standard_variables_say_what_is_exported(
    monkeypatch: pytest.MonkeyPatch,
    receiver: LoopbackServer,
    variables: dict[str, str],
    expected: list[tuple[str, str, list[str]]],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(receiver=receiver.url))

    do_a_run()

    assert delivered(receiver) == expected


def test_headers_of_the_receiver_come_from_the_standard_variable(
    monkeypatch: pytest.MonkeyPatch, receiver: LoopbackServer
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ours")

    do_a_run()

    assert [asked.headers["x-tenant"] for asked in receiver.asked] == ["ours"]


def test_a_sampler_decides_what_is_exported_and_not_what_is_recorded(
    monkeypatch: pytest.MonkeyPatch, finished_spans: Any
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    provider = tracer_provider("client_service", finished_spans)

    with span(provider, "run") as opened:
        flags = opened.get_span_context().trace_flags

    assert ([ended.name for ended in finished_spans.spans], flags.sampled) == (["run"], False)


@pytest.mark.parametrize("flags", ["01", "00"], ids=["sampled", "not sampled"])
def test_a_parent_based_sampler_heeds_the_caller(
    monkeypatch: pytest.MonkeyPatch, finished_spans: Any, flags: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")

    traced_app(finished_spans).test_client().get(
        "/account", headers={"traceparent": f"00-{CALLERS_TRACE}-00f067aa0ba902b7-{flags}"}
    )

    assert [f"{ended.context.trace_flags:02x}" for ended in finished_spans.spans] == [flags]


def test_with_the_sdk_disabled_there_is_no_trace_and_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")

    assert do_a_run() == "0" * 32


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
)
def test_what_the_environment_asks_for_in_vain_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    tracer_provider("client_service").shutdown()

    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [name]
