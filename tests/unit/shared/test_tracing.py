from typing import Any

import pytest
import requests
from flask import Flask

from shared.tracing import (
    TracingAdapter,
    current_trace_id,
    span,
    trace_requests,
    tracer_provider,
)

CALLERS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def traced_app(finished_spans: Any) -> Flask:
    app, provider = Flask("test"), tracer_provider("bank")
    provider.add_span_processor(finished_spans)
    trace_requests(app, provider)

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


def test_after_a_request_no_span_is_open(finished_spans: Any) -> None:
    traced_app(finished_spans).test_client().get("/account")

    assert current_trace_id() == "0" * 32


def test_the_adapter_sends_the_current_trace_along() -> None:
    request = requests.Request("GET", "http://localhost").prepare()
    with span(tracer_provider("client"), "run") as opened:
        TracingAdapter().add_headers(request)

    expected = f"00-{opened.get_span_context().trace_id:032x}-"
    assert request.headers["traceparent"].startswith(expected)


def test_spans_are_exported_where_the_standard_variable_names_a_receiver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = tracer_provider("bank")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:1/v1/traces")
    exporting = tracer_provider("bank")

    processors = [
        len(provider._active_span_processor._span_processors) for provider in (silent, exporting)
    ]
    exporting.shutdown()
    assert processors == [0, 1]
