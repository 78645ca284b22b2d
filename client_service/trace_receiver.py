"""`POST /v1/traces`: takes the spans of the other services (OTLP over HTTP, in protobuf)."""

import zlib
from collections.abc import Iterable

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from client_service.arrow_events import EVENT_NAMES, SpanEvent, store_events
from shared.database import Database
from shared.identifiers import TRACES_PATH
from shared.whole_body import whole_body

MEDIA_TYPE = "application/x-protobuf"
LONGEST_BODY_BYTES = 2 * 1024 * 1024
LONGEST_UNPACKED_BYTES = 8 * 1024 * 1024
MOST_EVENTS_OF_A_REQUEST = 2000


def trace_receiver(database: Database) -> Blueprint:
    """Return the view; it keeps the arrow events of known runs, and forgets all the rest.

    Whoever can reach it and knows the trace id of a run can add an event to what that run shows:
    it is for a demonstration on one machine, hence off unless a setting turns it on. A web page
    cannot: its browser asks first before it sends this media type, and is not answered.
    """
    receiver = Blueprint("traces", __name__)

    @receiver.post(TRACES_PATH)
    def receive() -> ResponseReturnValue:
        request.max_content_length = LONGEST_BODY_BYTES
        if request.mimetype != MEDIA_TYPE:
            abort(415, f"spans are taken as {MEDIA_TYPE}")
        store_events(database, _events_in(_unpacked(whole_body(request))))
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
        plain = unpacker.decompress(body, LONGEST_UNPACKED_BYTES)
    except zlib.error:
        abort(400, "the body is not packed with gzip")
    if unpacker.unconsumed_tail:
        abort(413, "the spans unpack to more than is taken")
    return plain


def _events_in(body: bytes) -> list[SpanEvent]:
    try:
        spans = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        abort(400, "the body is no ExportTraceServiceRequest")
    events = [
        SpanEvent(span.trace_id.hex(), span.span_id.hex(), _attributes(event.attributes))
        for resource in spans.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        for event in span.events
        if event.name in EVENT_NAMES
    ]
    return events[:MOST_EVENTS_OF_A_REQUEST]


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    """Return the attributes that are a text or a number: an arrow event has no others."""
    found: dict[str, object] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if kind in {"string_value", "int_value", "double_value"}:
            found[pair.key] = getattr(pair.value, kind)
    return found
