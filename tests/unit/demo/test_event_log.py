import json

from demo.event_log import arrow_events, arrows_passed, log_lines
from shared.arrows import Arrow


def line(time: str, trace_id: str, **fields: object) -> str:
    known = {"time": time, "trace_id": trace_id, "service": "auth_server", "name": "X"}
    return json.dumps(known | {"level": "INFO", "message": "m"} | fields)


CLIENT_LOG = "\n".join(
    [
        line("12:00:01", "mine", outcome="passed", arrow=1),
        line("12:00:04", "mine", outcome="passed", arrow=4),
        "Traceback (most recent call last):",
        "[1, 2]",
    ]
)
AUTH_LOG = "\n".join(
    [
        line("12:00:02", "mine", outcome="passed", arrow=2),
        line("12:00:02", "another's", outcome="passed", arrow=2),
        line("12:00:03", "mine", outcome="refused", status=400, error="invalid_scope"),
        line("12:00:03", "mine", message="POST /oidc/token answered 400"),
    ]
)


def test_the_events_of_one_trace_are_found_in_all_logs_in_the_order_of_their_time() -> None:
    events = arrow_events([CLIENT_LOG, AUTH_LOG], "mine")

    assert [(event.outcome, event.arrow) for event in events] == [
        ("passed", 1),
        ("passed", 2),
        ("refused", None),
        ("passed", 4),
    ]


def test_arrows_that_passed_are_named_once_in_the_order_of_their_first_time() -> None:
    events = arrow_events([CLIENT_LOG, CLIENT_LOG], "mine")

    assert arrows_passed(events) == [Arrow.REQUEST_TOKEN, Arrow.READ_RESOURCE]


def test_what_is_no_json_object_is_passed_over() -> None:
    assert len(log_lines([CLIENT_LOG])) == 2
