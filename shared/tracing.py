"""Traces: the W3C `traceparent` travels with every request, so that one exchange has one id.

The OpenTelemetry SDK always runs, so that trace ids exist. Spans leave the process only where
the standard variable `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) names a receiver.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, Response, g, request
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from requests import PreparedRequest
from requests.adapters import HTTPAdapter

from shared.health import HEALTH_PATHS
from shared.identifiers import TRACES_PATH

WITHOUT_SPAN = HEALTH_PATHS | {TRACES_PATH}
EXPORT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_propagator = TraceContextTextMapPropagator()


def tracer_provider(service: str) -> TracerProvider:
    """Return a provider of tracers for ``service``, which exports where the environment says so.

    Every span is recorded, whatever the caller's sampling flag is: a caller does not decide
    whether our events exist. Call after gunicorn's fork: an exporter has a thread.
    """
    provider = TracerProvider(resource=Resource({SERVICE_NAME: service}), sampler=ALWAYS_ON)
    if any(os.environ.get(variable) for variable in EXPORT_VARIABLES):
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def trace_requests(app: Flask, provider: TracerProvider) -> None:
    """Open a span around every request of ``app``, below the caller's `traceparent`.

    The span's name and attributes hold the route, never the query string. Health checks get none,
    nor does a delivery of spans: where a service receives its own, each would cause the next.
    """
    tracer = provider.get_tracer(__name__)

    @app.before_request
    def open_span() -> None:
        if request.path in WITHOUT_SPAN:
            return
        span = tracer.start_span(
            f"{request.method} {request.url_rule or 'no route'}",
            _propagator.extract(request.headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": request.method, "url.path": request.path},
        )
        g.trace_span = span
        g.trace_token = context.attach(trace.set_span_in_context(span))

    @app.after_request
    def note_status(response: Response) -> Response:
        if "trace_span" in g:
            g.trace_span.set_attribute("http.response.status_code", response.status_code)
        return response

    @app.teardown_request
    def close_span(_error: BaseException | None) -> None:
        if "trace_span" in g:
            g.pop("trace_span").end()
            context.detach(g.pop("trace_token"))


@contextmanager
def span(provider: TracerProvider, name: str) -> Iterator[Span]:
    """Open a span that is not a request's: a run of a job, say."""
    with provider.get_tracer(__name__).start_as_current_span(name) as opened:
        assert isinstance(opened, Span)
        yield opened


def current_trace_id() -> str:
    """Return the id of the current trace: 32 hexadecimal digits, all zero where there is none."""
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)


class TracingAdapter(HTTPAdapter):
    """Mounted on a `requests` session, it sends the `traceparent` of the current span along."""

    def add_headers(self, request: PreparedRequest, **_kwargs: object) -> None:
        """Add `traceparent` to ``request``, where a span is open."""
        _propagator.inject(request.headers)
