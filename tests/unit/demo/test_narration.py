from typing import Any

from demo.event_log import ArrowEvent
from demo.narration import missing, narrate
from shared.arrows import Arrow


def event(outcome: str = "passed", **fields: Any) -> ArrowEvent:
    known = {"name": "X", "service": "auth_server", "trace_id": "t", "time": "2026-11-23T12:00:00"}
    return ArrowEvent(outcome=outcome, **(known | fields))


REQUEST = event(arrow=1, method="POST", url="http://localhost:9000/oidc/token",
                parameters={"grant_type": "client_credentials"})  # fmt: skip
ANSWER = event(arrow=3, status=200, parameters={"expires_in": "300"})
READ = event(arrow=4, method="GET", url="http://localhost:9001")
REFUSAL = event("refused", status=401, error="invalid_client")


def test_an_arrow_is_told_with_its_number_its_way_and_its_words() -> None:
    first_line = narrate([REQUEST]).splitlines()[0]

    assert first_line == (
        "  1  Client → Authorization Server: Request Access Token (ClientId, Client secret)"
    )


def test_an_arrow_within_one_participant_names_it_once() -> None:
    assert narrate([event(arrow=2)]) == (
        "  2  Authorization Server: Validate ClientId & Client Secret"
    )


def test_a_request_is_told_by_its_http_line_and_its_parameters() -> None:
    told = [line.strip() for line in narrate([REQUEST]).splitlines()[1:]]

    assert told == [
        "POST /oidc/token HTTP/1.1   Host: localhost:9000",
        "grant_type: client_credentials",
    ]


def test_an_answer_is_told_by_its_status_line() -> None:
    assert [line.strip() for line in narrate([ANSWER]).splitlines()[1:]] == [
        "HTTP/1.1 200",
        "expires_in: 300",
    ]


def test_a_refusal_is_told_after_the_last_arrow_that_passed() -> None:
    told = narrate([REQUEST, REFUSAL])

    assert told.endswith("  ✗  refused by auth_server: 401 invalid_client\n       HTTP/1.1 401")
    assert told.startswith("  1  ")


def test_an_arrow_that_passes_again_is_told_once_and_counted() -> None:
    told = narrate([READ, READ, READ])

    assert told.count("  4  ") == 1
    assert told.endswith("  …  then arrow 4 2 more: the pages of transactions")


def test_what_did_not_pass_is_known_from_the_events_alone() -> None:
    assert missing([REQUEST, ANSWER, REFUSAL]) == [
        Arrow.VALIDATE_CLIENT,
        Arrow.READ_RESOURCE,
        Arrow.RETURN_RESOURCE,
    ]
