"""What a service that is fuzzed along its OpenAPI document has to keep."""

from typing import Any, Final

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import HookContext
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    allow_header_conformance,
]
"""Left out is what speaks of how much a server takes: ours judges more than a schema can say."""

A_FEW_EXAMPLES: Final = settings(
    max_examples=40,
    deadline=None,  # it is no test of speed
    derandomize=True,  # the same requests at every run
    suppress_health_check=list(HealthCheck),
)

_FRAMING: Final = {"connection", "content-length", "expect", "host", "transfer-encoding"}


@schemathesis.hook
def filter_headers(_context: HookContext, headers: dict[str, Any] | None) -> bool:
    """Leave out requests that HTTP itself has a refusal for: no document describes that one."""
    return not _FRAMING & {name.lower() for name in headers or ()}
