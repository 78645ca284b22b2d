"""Traces over outgoing requests; apart, as the authorization server makes none with `requests`."""

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from requests import PreparedRequest
from requests.adapters import HTTPAdapter

_propagator = TraceContextTextMapPropagator()


class TracingAdapter(HTTPAdapter):
    """Mounted on a `requests` session, it sends the `traceparent` of the current span along."""

    def add_headers(self, request: PreparedRequest, **_kwargs: object) -> None:
        """Add `traceparent` to ``request``, where a span is open."""
        _propagator.inject(request.headers)
