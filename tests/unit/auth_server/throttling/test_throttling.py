import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from auth_server.errors import InvalidClientError, TooManyFailuresError
from auth_server.throttling import counted_address, failure_counts, failure_of
from auth_server.throttling.memory import CountsInMemory
from tests.unit.auth_server.running import Running, settings_for

GRANT = "grant_type=client_credentials"
ENDPOINTS = {"/oidc/token": GRANT, "/oidc/introspect": "token=x", "/oidc/revoke": "token=x"}


@pytest.fixture
def server(make: Callable[..., Running]) -> Running:
    """A server that answers three failures of a client, and five of an address, as usual."""
    return make(throttling_failures_per_client=3, throttling_failures_per_address=5)


def fail(
    server: Running, client: str = "worker", address: str = "203.0.113.7", path: str = "/oidc/token"
) -> TestResponse:
    return server.http.post(
        path,
        data=ENDPOINTS[path],
        headers={"Authorization": server.basic(client, "wrong")},
        content_type="application/x-www-form-urlencoded",
        environ_base={"REMOTE_ADDR": address},
    )


def statuses(answers: list[TestResponse]) -> list[int]:
    return [answer.status_code for answer in answers]


def test_past_the_limit_a_failure_is_429_in_place_of_401(server: Running) -> None:
    assert statuses([fail(server) for _ in range(5)]) == [401, 401, 401, 429, 429]


def test_the_answer_past_the_limit_says_when_to_come_back(server: Running) -> None:
    answer = [fail(server) for _ in range(4)][-1]
    assert answer.get_json() == {
        "error": "temporarily_unavailable",
        "error_description": "Client authentication failed too often.",
    }
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert "WWW-Authenticate" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_right_secret_passes_during_a_flood_from_its_own_address(server: Running) -> None:
    flood = [fail(server) for _ in range(10)]
    headers = {"Authorization": server.basic()}
    answer = server.http.post(
        "/oidc/token",
        data={"grant_type": "client_credentials"},
        headers=headers,
        environ_base={"REMOTE_ADDR": "203.0.113.7"},
    )
    assert (flood[-1].status_code, answer.status_code) == (429, 200)


def test_a_client_is_never_counted_alone(server: Running) -> None:
    flood = [fail(server, address=f"203.0.113.{n}") for n in range(20)]
    assert set(statuses(flood)) == {401}


def test_an_address_is_counted_whichever_clients_it_claims_to_be(server: Running) -> None:
    made_up = [fail(server, client=f"client-{n}") for n in range(7)]
    assert statuses(made_up) == [401] * 5 + [429] * 2


def test_an_unknown_client_is_throttled_as_a_known_one_is(server: Running) -> None:
    known = [fail(server, "worker", "203.0.113.1") for _ in range(6)]
    unknown = [fail(server, "nobody", "203.0.113.2") for _ in range(6)]

    def seen(answer: TestResponse) -> tuple[int, bytes, list[str]]:
        return answer.status_code, answer.data, sorted(answer.headers.keys())

    assert [seen(answer) for answer in known] == [seen(answer) for answer in unknown]


def test_failures_at_all_endpoints_count_together(server: Running) -> None:
    answers = [fail(server, path=path) for path in ENDPOINTS]
    assert [*statuses(answers), fail(server).status_code] == [401, 401, 401, 429]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_each_endpoint_answers_429_past_the_limit(server: Running, path: str) -> None:
    assert statuses([fail(server, path=path) for _ in range(4)])[-1] == 429


def test_a_request_that_names_no_client_counts_for_its_address_alone(server: Running) -> None:
    def nameless() -> TestResponse:
        return server.http.post(
            "/oidc/token",
            data={"grant_type": "client_credentials"},
            environ_base={"REMOTE_ADDR": "203.0.113.7"},
        )

    assert statuses([nameless() for _ in range(6)]) == [401] * 5 + [429]


def test_a_malformed_request_is_no_failure(server: Running) -> None:
    malformed = [server.post("grant_type=client_credentials&a=b&a=b") for _ in range(10)]
    assert set(statuses(malformed)) == {400}


def test_the_reason_stands_in_the_log_past_the_limit_too(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(4):
        caplog.clear()
        fail(server)
    assert "the secret of worker does not match" in caplog.text
    assert caplog.records[-2].__dict__["event"]["status"] == 429


def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_names(
    make: Callable[..., Running],
) -> None:
    server = make(proxies=1, throttling_failures_per_client=1)

    def fail_from(address: str) -> int:
        headers = {
            "Authorization": server.basic("worker", "wrong"),
            "X-Forwarded-For": f"198.51.100.1, {address}",
        }
        form = {"grant_type": "client_credentials"}
        return server.http.post("/oidc/token", data=form, headers=headers).status_code

    answers = [fail_from(address) for address in ("203.0.113.1", "203.0.113.1", "203.0.113.2")]
    assert answers == [401, 429, 401]


@pytest.mark.parametrize(
    ("remote", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("203.0.113.7:4711", "none"),
        ("", "none"),
        (None, "none"),
    ],
    ids=str,
)
def test_an_address_is_counted_as(remote: str | None, counted: str) -> None:
    assert counted_address(remote) == counted


@given(st.text(), st.text())
def test_whoever_fails_is_named_by_digests_of_one_length(client_id: str, remote: str) -> None:
    failure = failure_of(client_id, remote)
    lengths = {len(failure.address), len(failure.client or failure.address)}
    assert lengths == {64}
    assert (failure.client is None) == (client_id == "")


def test_a_client_id_with_a_lone_surrogate_can_be_counted() -> None:
    assert failure_of("\ud800", None) != failure_of("\ud801", None)


def test_the_same_client_at_two_addresses_is_counted_twice() -> None:
    assert failure_of("worker", "203.0.113.1") != failure_of("worker", "203.0.113.2")


def test_without_an_url_this_process_counts() -> None:
    assert isinstance(failure_counts(settings_for(Path("unused.db"))), CountsInMemory)


def test_the_error_past_the_limit_knows_what_was_wrong() -> None:
    failure = InvalidClientError("the secret does not match")
    failure.client_id = "worker"
    error = TooManyFailuresError(failure, 7)
    assert (error.reason, error.client_id) == ("the secret does not match", "worker")
