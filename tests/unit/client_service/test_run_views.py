import hashlib
import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from client_service.app import ClientService
from client_service.runs import Trigger, find_run
from client_service.schedule import Lease
from tests.stack.loopback import LoopbackServer, Reply
from tests.unit.client_service.conftest import CONTROL_TOKEN

FORM = {"control_token": CONTROL_TOKEN}
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NO_RUN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def taken(service: ClientService) -> Lease:
    lease = service.schedules["reconcile"].take_now(Trigger.COMMAND)
    assert lease is not None
    return lease


def take_the_database_away(service: ClientService) -> None:
    with service.database.writing() as session:
        session.execute(text("DROP TABLE run"))


def test_the_page_says_so_when_there_are_no_runs(client: FlaskClient) -> None:
    answer = client.get("/")

    assert answer.status_code == 200
    assert "There are no runs yet." in answer.text


def test_the_page_shows_a_balanced_run(client: FlaskClient, service: ClientService) -> None:
    service.worker.work(taken(service))

    page = client.get("/").text

    told = "account acc-1 is balanced; 5 transactions read, balance 1250 EUR (minor units)"
    assert f"<td>{told}</td>" in page
    assert "<td>reconcile</td>" in page


def test_the_page_shows_a_difference(
    client: FlaskClient, service: ClientService, server: LoopbackServer
) -> None:
    members = {"account_id": "a", "currency": "EUR", "balance": 7, "as_of": 0}
    server.reply("/account", Reply(document={**members, "transactions": "/t"}))
    service.worker.work(taken(service))

    told = '<td class="unbalanced">account a is off by 7: the balance changed by 7 '
    assert told in client.get("/").text


def test_the_page_shows_the_error_of_a_failed_run_as_text(
    client: FlaskClient, service: ClientService, server: LoopbackServer
) -> None:
    error = {"error": "invalid_client", "error_description": "<script>x</script>"}
    server.reply("/token", Reply(401, error))
    service.worker.work(taken(service))

    page = client.get("/").text

    assert "401 invalid_client (&lt;script&gt;x&lt;/script&gt;)" in page
    assert "<script" not in page


def test_the_page_says_how_many_ticks_a_run_stands_for(
    client: FlaskClient, service: ClientService
) -> None:
    lease = taken(service)
    with service.database.writing() as session:
        session.execute(text("UPDATE run SET merged_ticks = 4"))

    assert f'href="/runs/{lease.run_id}"' in client.get("/").text
    assert "with 4 missed ticks" in client.get("/").text


def test_the_policy_of_the_page_lets_in_its_own_style_and_nothing_else(
    client: FlaskClient,
) -> None:
    answer = client.get("/")

    style = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert "style=" not in answer.text


def test_the_page_says_so_when_the_database_is_away(
    client: FlaskClient, service: ClientService
) -> None:
    take_the_database_away(service)

    answer = client.get("/")

    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert answer.headers["Retry-After"] == "2"
    assert "the database does not answer now" in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/runs"), ("POST", "/runs"), ("GET", f"/runs/{NO_RUN}")],
    ids=["list", "start", "show"],
)
def test_without_its_database_it_answers_503(
    client: FlaskClient, service: ClientService, method: str, path: str
) -> None:
    take_the_database_away(service)

    answer = client.open(path, method=method, data=FORM if method == "POST" else None)

    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert answer.headers["Retry-After"] == "2"


def test_the_runs_are_told_the_newest_first(client: FlaskClient, service: ClientService) -> None:
    ids = []
    for _ in range(2):
        lease = taken(service)
        service.worker.work(lease)
        ids.append(lease.run_id)

    assert [run["id"] for run in client.get("/runs").get_json()["runs"]] == ids[::-1]


def test_a_run_is_told_with_its_result_and_its_arrows(
    client: FlaskClient, service: ClientService
) -> None:
    lease = taken(service)
    service.worker.work(lease)

    run = client.get(f"/runs/{lease.run_id}").get_json()

    assert (run["status"], run["error"], run["trigger"]) == ("succeeded", None, "command")
    assert run["started"].endswith("+00:00")
    assert run["result"] == {
        "account_id": "acc-1",
        "currency": "EUR",
        "transactions_read": 5,
        "sum": 1250,
        "balance": 1250,
        "as_of": 5,
        "balanced": True,
        "difference": 0,
        "findings": [],
        "unlisted_findings": 0,
    }
    assert [arrow["arrow"] for arrow in run["arrows"]] == [1, 4, 4, 4, 4]


def test_a_run_under_way_has_no_result_yet(client: FlaskClient, service: ClientService) -> None:
    run = client.get(f"/runs/{taken(service).run_id}").get_json()

    assert (run["status"], run["result"], run["arrows"]) == ("running", None, [])


@pytest.mark.parametrize("run_id", [NO_RUN, "x", "%00", "..%2f"])
def test_a_run_that_is_not_there_is_a_404(client: FlaskClient, run_id: str) -> None:
    answer = client.get(f"/runs/{run_id}")

    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


def test_a_method_that_is_not_there_is_a_405_with_those_that_are(client: FlaskClient) -> None:
    answer = client.delete("/runs")

    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


def test_a_run_that_is_started_is_found_at_its_location(
    client: FlaskClient, service: ClientService
) -> None:
    answer = client.post("/runs", data=FORM)
    run_id = answer.get_json()["id"]
    assert service.worker._in_background is not None
    service.worker._in_background.join(10)

    assert (answer.status_code, answer.headers["Location"]) == (202, f"/runs/{run_id}")
    run = find_run(service.database, run_id)
    assert run is not None
    assert (run.status, run.trigger) == ("succeeded", "request")


def test_a_second_run_beside_one_under_way_is_a_conflict(
    client: FlaskClient, service: ClientService
) -> None:
    taken(service)

    answer = client.post("/runs", data=FORM)

    assert (answer.status_code, answer.mimetype) == (409, "application/problem+json")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:9001"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": ""},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    ],
    ids=str,
)
def test_a_page_of_another_origin_starts_no_run(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    answer = client.post("/runs", data=FORM, headers=headers)

    assert answer.status_code == 403
    assert client.get("/runs").get_json()["runs"] == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}],
    ids=["a program", "a page of its own"],
)
def test_a_program_and_a_page_of_our_own_start_a_run(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    assert client.post("/runs", data=FORM, headers=headers).status_code == 202


@pytest.mark.parametrize(
    "request_parts",
    [
        {},
        {"data": {"control_token": ""}},
        {"data": {"control_token": CONTROL_TOKEN[:-1]}},
        {"data": {"control_token": "ü" * 40}},
        {"data": b"control_token=%ff%00"},
        {"data": {"token": CONTROL_TOKEN}},
        {"query_string": {"control_token": CONTROL_TOKEN}},
        {"json": {"control_token": CONTROL_TOKEN}},
        {"data": {"control_token": CONTROL_TOKEN}, "content_type": "multipart/form-data"},
        {"data": {"control_token": CONTROL_TOKEN} | {str(n): "x" for n in range(30)}},
        {"headers": {"Authorization": f"Bearer {CONTROL_TOKEN}"}},
        {"headers": {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}},
    ],
    ids=[
        "nothing",
        "empty",
        "cut",
        "no ASCII",
        "no UTF-8",
        "another field",
        "query",
        "JSON",
        "multipart",
        "many fields",
        "header",
        "a page of its own without it",
    ],
)
def test_without_the_control_token_in_the_form_no_run_starts(
    client: FlaskClient, request_parts: dict[str, Any]
) -> None:
    answer = client.post("/runs", **request_parts)

    assert (answer.status_code, answer.mimetype) == (403, "application/problem+json")
    assert client.get("/runs").get_json()["runs"] == []


def test_a_wrong_control_token_is_told_in_the_log_without_it(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.post("/runs", data={"control_token": CONTROL_TOKEN[1:]})

    why = "the form's control_token is not the one that is set"
    assert [record.getMessage() for record in caplog.records] == [
        f"no run is started for 127.0.0.1: {why}"
    ]


def test_white_space_around_the_control_token_does_not_matter(client: FlaskClient) -> None:
    answer = client.post("/runs", data={"control_token": f" {CONTROL_TOKEN}\n"})

    assert answer.status_code == 202


@pytest.mark.parametrize("form", [{}, {"control_token": ""}, {"control_token": "None"}])
def test_where_no_control_token_is_set_nobody_starts_a_run(
    make_app: Callable[..., Flask], form: dict[str, str]
) -> None:
    client = make_app(control_token=None).test_client()

    answer = client.post("/runs", data=form)

    assert answer.status_code == 403
    assert "no control token is set" in answer.get_json()["detail"]
    assert "<form" not in client.get("/").text


def test_a_name_that_a_rebound_dns_leads_here_starts_no_run(client: FlaskClient) -> None:
    headers = {"Host": "rebound.example", "Origin": "http://rebound.example"}

    answer = client.post("/runs", data=FORM, headers=headers | {"Sec-Fetch-Site": "same-origin"})

    assert answer.status_code == 400
    assert client.get("/runs").get_json()["runs"] == []


def test_the_pages_form_leads_back_to_the_page(client: FlaskClient) -> None:
    page = client.get("/").text
    field, action = re.findall(r'name="(\w+)"', page)[-1], re.findall(r'action="(.*?)"', page)

    answer = client.post(action[0], data={field: CONTROL_TOKEN}, headers=PAGE)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert len(client.get("/runs").get_json()["runs"]) == 1


def test_the_page_does_not_hold_the_control_token(client: FlaskClient) -> None:
    refused = client.post("/runs", data={"control_token": CONTROL_TOKEN[1:]}, headers=PAGE)

    assert (refused.status_code, refused.mimetype) == (403, "text/html")
    assert "No run was started: the form&#39;s control_token" in refused.text
    assert CONTROL_TOKEN[1:] not in refused.text + client.get("/").text


def test_a_browser_sends_the_pages_form_with_its_origin(client: FlaskClient) -> None:
    answer = client.get("/")

    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]


def test_a_bug_is_answered_without_a_trace(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    @app.get("/bug")
    def bug() -> str:
        raise ZeroDivisionError("a word of the inside")

    answer = app.test_client().get("/bug")

    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert "a word of the inside" not in answer.text
    assert caplog.records[-1].exc_info is not None
