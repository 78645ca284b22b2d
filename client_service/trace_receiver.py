"""`POST /v1/traces`: takes the spans of the other services (OTLP over HTTP, in protobuf)."""

import zlib
from collections.abc import Iterable, Iterator
from itertools import islice

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from client_service.arrow_events import EVENT_NAMES, SpanEvent, store_reported_events
from shared.database import Database
from shared.identifiers import TRACES_PATH
from shared.whole_body import whole_body

MEDIA_TYPE = "application/x-protobuf"
LONGEST_BODY_BYTES = 1024 * 1024
"""Packed or not: read as protobuf, a body can take thirty times as much memory."""
MOST_EVENTS_OF_A_REQUEST = 2000


def trace_receiver(database: Database, own_service: str) -> Blueprint:
    """Return the view; it keeps the arrow events of runs under way, and forgets all the rest.

    Whoever can reach it and knows the trace id of a run can add an event of another service to
    what that run shows, until it has ended for a minute; nothing else here depends on it. It is
    for a demonstration on one machine, hence off unless a setting turns it on. No web page can: of
    whatever origin it is, what a browser sends is refused.
    """
    receiver = Blueprint("traces", __name__)

    @receiver.post(TRACES_PATH)
    def receive() -> ResponseReturnValue:
        if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
            abort(403, "spans are taken from services, not from web pages")
        if request.mimetype != MEDIA_TYPE:
            abort(415, f"spans are taken as {MEDIA_TYPE}")
        events = _events_in(_unpacked(whole_body(request, LONGEST_BODY_BYTES)))
        store_reported_events(database, events, own_service)
        return Response(ExportTraceServiceResponse().SerializeToString(), mimetype=MEDIA_TYPE)

    return receiver


def _unpacked(body: bytes) -> bytes:
    """Return ``body`` without its compression; nothing that unpacks to more than the limit."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return body
    if encoding != "gzip":
        abort(415, "spans are taken plain or packed with gzip")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, LONGEST_BODY_BYTES)
    except zlib.error:
        abort(400, "the body is not packed with gzip")
    if unpacker.unconsumed_tail:
        abort(413, "the spans unpack to more than is taken")
    if not unpacker.eof:
        abort(400, "the body breaks off")
    return plain


def _events_in(body: bytes) -> list[SpanEvent]:
    try:
        spans = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        abort(400, "the body is no ExportTraceServiceRequest")
    return list(islice(_arrow_events_in(spans), MOST_EVENTS_OF_A_REQUEST))


def _arrow_events_in(spans: ExportTraceServiceRequest) -> Iterator[SpanEvent]:
    for resource in spans.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                for event in span.events:
                    if event.name in EVENT_NAMES:
                        attributes = _attributes(event.attributes)
                        yield SpanEvent(span.trace_id.hex(), span.span_id.hex(), attributes)


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    """Return the attributes that are a text or a number: an arrow event has no others."""
    found: dict[str, object] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if kind in {"string_value", "int_value", "double_value"}:
            found[pair.key] = getattr(pair.value, kind)
    return found
