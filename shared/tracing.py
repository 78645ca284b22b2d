"""Traces: the W3C `traceparent` travels with every request, so that one exchange has one id.

The OpenTelemetry SDK always runs, so that trace ids exist, unless `OTEL_SDK_DISABLED` is `true`.
Spans leave the process only where a standard variable asks for it: `OTEL_TRACES_EXPORTER=otlp`, or
`OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`). Where nobody receives them, a span is its
ids, and nothing is recorded on it.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response
from opentelemetry import context, trace
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, Span, SpanContext, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.at_hand import this_g, this_request
from shared.health import HEALTH_PATHS
from shared.identifiers import TRACES_PATH

log = logging.getLogger(__name__)

WITHOUT_SPAN = HEALTH_PATHS | {TRACES_PATH}
EXPORT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_propagator = TraceContextTextMapPropagator()
_new_ids = RandomIdGenerator()


def tracer_provider(service: str, *processors: SpanProcessor) -> TracerProvider:
    """Return a provider of tracers for ``service``, which exports where the environment says so.

    ``processors`` are told of each span as well. Where anybody is, every span is recorded, whatever
    the sampler or the caller's sampling flag says: neither decides whether our events exist, only
    whether they are exported. Call after gunicorn's fork: an exporter has a thread.
    """
    provider = TracerProvider(resource=_resource(service))
    told = [*processors, *([_exporter()] if _exports() else [])]
    chosen = provider.sampler if os.environ.get("OTEL_TRACES_SAMPLER") else ALWAYS_ON
    provider.sampler = RecordedAnyway(chosen) if told else ALWAYS_OFF
    for processor in told:
        provider.add_span_processor(processor)
    return provider


class RecordedAnyway(Sampler):
    """Records what ``chosen`` would drop, and marks it as not to be exported."""

    def __init__(self, chosen: Sampler) -> None:
        self._chosen = chosen

    def should_sample(self, *arguments: Any, **keywords: Any) -> SamplingResult:
        """Return what the sampler that was chosen says, at the least to record."""
        result = self._chosen.should_sample(*arguments, **keywords)
        if result.decision is Decision.DROP:
            return SamplingResult(Decision.RECORD_ONLY, result.attributes, result.trace_state)
        return result

    def get_description(self) -> str:
        """Return the name of the sampler that was chosen."""
        return self._chosen.get_description()


def _resource(service: str) -> Resource:
    """Return what the environment says of this process; without a name there, ``service``."""
    told = OTELResourceDetector().detect().attributes
    return Resource.create({SERVICE_NAME: told.get(SERVICE_NAME) or service})


def _exporter() -> SpanProcessor:
    # Here, as its package and Google's protobuf are needed where spans leave, and nowhere else.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return BatchSpanProcessor(OTLPSpanExporter())


def _exports() -> bool:
    """Tell whether spans are to be exported; warn of what the environment asks for in vain."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter not in {"", "none", "otlp"}:
        log.warning("OTEL_TRACES_EXPORTER: only `otlp` and `none` are known; nothing is exported")
    protocol = next(filter(None, map(os.environ.get, PROTOCOL_VARIABLES)), "http/protobuf")
    if protocol != "http/protobuf":
        log.warning("OTEL_EXPORTER_OTLP_PROTOCOL: spans are sent by http/protobuf all the same")
    named = any(os.environ.get(variable) for variable in EXPORT_VARIABLES)
    return exporter == "otlp" or (not exporter and named)


def trace_requests(app: Flask, provider: TracerProvider) -> None:
    """Open a span around every request of ``app``, below the caller's `traceparent`.

    The span's name and attributes hold the route, never the query string. Health checks get none,
    nor does a delivery of spans: where a service receives its own, each would cause the next.
    """
    tracer = provider.get_tracer(__name__)
    is_received = provider.sampler is not ALWAYS_OFF

    @app.before_request
    def open_span() -> None:
        request = this_request()
        environ = request.environ
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path in WITHOUT_SPAN:
            return
        above = _propagator.extract(request.headers) if "HTTP_TRACEPARENT" in environ else None
        if is_received:
            name = f"{method} {request.url_rule or 'no route'}"
            attributes = {"http.request.method": method, "url.path": request.path}
            span = tracer.start_span(name, above, kind=SpanKind.SERVER, attributes=attributes)
        else:
            span = _ids_alone(above)
        this_g().span = span, context.attach(trace.set_span_in_context(span))

    if is_received:

        @app.after_request
        def note_status(response: Response) -> Response:
            g = this_g()
            if "span" in g:
                g.span[0].set_attribute("http.response.status_code", response.status_code)
            return response

    @app.teardown_request
    def close_span(_error: BaseException | None) -> None:
        span, token = this_g().pop("span", (None, None))
        if span is not None:
            span.end()
            context.detach(token)


def _ids_alone(above: context.Context | None) -> Span:
    """Return a span that nobody receives: the SDK's own judges and describes it first, in vain."""
    caller = (
        INVALID_SPAN_CONTEXT if above is None else trace.get_current_span(above).get_span_context()
    )
    trace_id = caller.trace_id if caller.is_valid else _new_ids.generate_trace_id()
    span_id = _new_ids.generate_span_id()
    # What tracers of others wrote goes along (W3C Trace Context §3.5: MUST).
    ids = SpanContext(trace_id, span_id, is_remote=False, trace_state=caller.trace_state)
    return NonRecordingSpan(ids)


@contextmanager
def span(provider: TracerProvider, name: str) -> Iterator[Span]:
    """Open a span that is not a request's: a run of a job, say."""
    with provider.get_tracer(__name__).start_as_current_span(name) as opened:
        yield opened


def current_trace_id() -> str:
    """Return the id of the current trace: 32 hexadecimal digits, all zero where there is none."""
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)
