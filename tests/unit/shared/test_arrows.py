import time
from typing import Any

import pytest

from shared.arrows import Arrow, passed, refused, shortened
from shared.tracing import span, tracer_provider

SECRET = "ccs_" + "s" * 49


def test_an_arrow_that_passed_is_logged_with_its_number_and_its_service(
    logged_events: list[dict[str, Any]],
    finished_spans: Any,
) -> None:
    with span(tracer_provider("auth_server", finished_spans), "request"):
        passed(Arrow.ISSUE_TOKEN, status=200)

    event = logged_events[0]
    assert event["outcome"] == "passed"
    assert (event["arrow"], event["name"], event["service"]) == (3, "ISSUE_TOKEN", "auth_server")
    assert event["status"] == 200


def test_a_refusal_names_its_status_and_error_and_no_arrow(
    logged_events: list[dict[str, Any]],
) -> None:
    refused(401, "invalid_client", method="POST", url="http://localhost/oidc/token")

    event = logged_events[0]
    assert (event["outcome"], event["status"], event["error"]) == ("refused", 401, "invalid_client")
    assert "arrow" not in event


def test_an_event_carries_the_ids_of_the_span_it_happened_in(
    logged_events: list[dict[str, Any]],
) -> None:
    with span(tracer_provider("client_service"), "run") as opened:
        passed(Arrow.REQUEST_TOKEN)
        context = opened.get_span_context()

    assert int(logged_events[0]["trace_id"], 16) == context.trace_id
    assert int(logged_events[0]["span_id"], 16) == context.span_id


def test_an_event_stands_on_the_current_span_too(finished_spans: Any) -> None:
    provider = tracer_provider("client_service", finished_spans)
    with span(provider, "run"):
        passed(Arrow.READ_RESOURCE, method="GET", parameters={"limit": 5})

    event = finished_spans.spans[0].events[0]
    assert event.name == "arrow.passed"
    assert event.attributes is not None
    assert event.attributes["arrow"] == 4
    assert event.attributes["parameters.limit"] == "5"


def test_an_arrow_that_set_out_earlier_carries_that_time_and_how_long_it_took(
    logged_events: list[dict[str, Any]],
) -> None:
    passed(Arrow.REQUEST_TOKEN, started=time.time() - 2)

    assert 2000 <= logged_events[0]["duration_ms"] < 60_000


def test_outside_a_span_the_event_names_no_service(logged_events: list[dict[str, Any]]) -> None:
    passed(Arrow.REQUEST_TOKEN)

    assert "service" not in logged_events[0]


def test_a_url_is_recorded_without_its_query(logged_events: list[dict[str, Any]]) -> None:
    refused(400, "invalid_request", url=f"http://localhost/oidc/token?client_secret={SECRET}")

    assert logged_events[0]["url"] == "http://localhost/oidc/token"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        pytest.param("client_secret", SECRET, "(53 characters)", id="secret"),
        pytest.param("access_token", "eyJhbGciOiJSUzI1NiJ9.x.y", "eyJhbGciOi… (24 characters)",
                     id="token"),
        pytest.param("scope", "openid Read", "openid Read", id="plain"),
        pytest.param("resource", "r" * 300, "r" * 200 + "…", id="long"),
    ],
)  # fmt: skip
def test_a_parameter_is_shown_shortened(name: str, value: str, shown: str) -> None:
    assert shortened({name: value}) == {name: shown}
