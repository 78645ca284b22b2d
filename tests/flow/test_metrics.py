"""Metrics as a real gunicorn shows them: the authorization server's, added up, and the client's."""

import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import requests
from prometheus_client.parser import text_string_to_metric_families

from demo.processes import Service
from tests.stack import RegisteredClient, start_run
from tests.stack.local_stack import LocalStack, register_client

TIMEOUT_SECONDS = 10
AT_ONCE = 8
INVENTED = 1000
BOOTED = re.compile(r"Booting worker with pid: (\d+)")
REQUESTS = "auth_server_token_requests_total"
POST = {"grant_type": "client_credentials"}

Counted = dict[tuple[str, str], float]


def counted(stack: LocalStack) -> Counted:
    """Return the counts of token requests by client and outcome."""
    text = requests.get(stack.metrics_url, timeout=TIMEOUT_SECONDS).text
    return {
        (sample.labels["client"], sample.labels["outcome"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == REQUESTS
    }


def asking_as(stack: LocalStack, client: RegisteredClient) -> Callable[[object], int]:
    def ask(_: object) -> int:
        pair = (client.client_id, client.client_secret)
        url = f"{stack.auth_url}/oidc/token"
        return requests.post(url, POST, auth=pair, timeout=TIMEOUT_SECONDS).status_code

    return ask


def booted_workers(service: Service) -> list[int]:
    """Return the process ids of all workers that the service ever started, the newest last."""
    return [int(pid) for pid in BOOTED.findall(service.log_file.read_text())]


def test_concurrent_requests_to_several_workers_are_all_counted(
    stack_of_processes: LocalStack,
) -> None:
    client = register_client(stack_of_processes, "counted")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = list(pool.map(asking_as(stack_of_processes, client), range(200)))

    assert set(statuses) == {200}
    assert counted(stack_of_processes)["counted", "issued"] == 200


def test_a_worker_that_is_killed_takes_no_count_with_it(stack_of_processes: LocalStack) -> None:
    ask = asking_as(stack_of_processes, register_client(stack_of_processes, "lasting"))
    auth_server = stack_of_processes.demo.auth_server
    for number in range(20):
        ask(number)

    before = booted_workers(auth_server)
    os.kill(before[-1], signal.SIGKILL)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while len(booted_workers(auth_server)) == len(before):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    auth_server.wait_until_ready()

    assert counted(stack_of_processes)["lasting", "issued"] == 20


def test_a_thousand_invented_client_ids_make_one_series(stack_of_processes: LocalStack) -> None:
    before = counted(stack_of_processes)

    def ask_as_nobody(number: int) -> int:
        nobody = RegisteredClient(f"invented-{number}", "x")
        return asking_as(stack_of_processes, nobody)(number)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = set(pool.map(ask_as_nobody, range(INVENTED)))

    after = counted(stack_of_processes)
    unknown = ("unknown", "invalid_client")
    assert statuses == {401}
    # The stack's own client may have asked meanwhile: it has a job every minute.
    assert {client for client, _ in set(after) - set(before)} <= {"unknown", "bank-reconciler"}
    assert after[unknown] - before.get(unknown, 0) == INVENTED


def test_the_public_port_shows_no_metrics(stack_of_processes: LocalStack) -> None:
    answer = requests.get(f"{stack_of_processes.auth_url}/metrics", timeout=TIMEOUT_SECONDS)

    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_a_run_over_http_is_in_the_clients_metrics(stack_of_processes: LocalStack) -> None:
    before = runs_that_succeeded(stack_of_processes)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while start_run(stack_of_processes).status_code != 202:  # one of the schedule is under way
        assert time.monotonic() < deadline

    while runs_that_succeeded(stack_of_processes) <= before:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    shown = requests.get(stack_of_processes.client_metrics_url, timeout=TIMEOUT_SECONDS).text
    assert 'client_service_last_success_timestamp_seconds{job="reconcile"}' in shown
    assert "client_service_token_age_seconds " in shown


def runs_that_succeeded(stack: LocalStack) -> float:
    text = requests.get(stack.client_metrics_url, timeout=TIMEOUT_SECONDS).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "client_service_runs_total" and sample.labels["outcome"] == "succeeded"
    )
