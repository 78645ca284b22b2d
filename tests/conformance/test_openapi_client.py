"""The client service, fuzzed along the document that describes it, with its token and without."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
import yaml
from schemathesis import Case

from demo.processes import ROOT
from tests.conformance.client_runs import Surroundings
from tests.conformance.local_servers import local_client_service
from tests.conformance.openapi_fuzzing import A_FEW_EXAMPLES, CHECKS

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "client_service" / "openapi.yaml").read_text())
CONTROL_TOKEN = "a-control-token-of-the-tests-0123456789"
FORM = {"control_token": CONTROL_TOKEN}
FORM_TYPE = "application/x-www-form-urlencoded"
BROWSER = {"Accept": "text/html"}
SECONDS = 10

schemathesis.serializer.alias("application/x-protobuf", "application/octet-stream")
interface = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where our client service answers; it is local, as no other server has this document."""
    folder = tmp_path_factory.mktemp("client service")
    with Surroundings() as around, local_client_service(folder, around, CONTROL_TOKEN) as url:
        yield url


@pytest.fixture(scope="module")
def run_id(base_url: str) -> str:
    """Return the id of a run that has ended."""
    run_id: str = requests.post(f"{base_url}/runs", FORM, timeout=SECONDS).json()["id"]
    deadline = time.monotonic() + SECONDS
    while requests.get(f"{base_url}/runs/{run_id}", timeout=SECONDS).json()["ended"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return run_id


@interface.parametrize()
@A_FEW_EXAMPLES
def test_no_request_gets_what_the_document_does_not_say(case: Case[Any], base_url: str) -> None:
    case.call_and_validate(base_url=base_url, checks=CHECKS, allow_redirects=False)


@pytest.mark.parametrize("headers", [{}, BROWSER], ids=["program", "browser"])
@pytest.mark.parametrize("form", [FORM, {"control_token": "wrong"}], ids=["token", "wrong token"])
def test_what_starts_a_run_or_does_not_is_as_the_document_says(
    base_url: str, run_id: str, form: dict[str, str], headers: dict[str, str]
) -> None:
    case = interface["/runs"]["POST"].Case(
        body=dict[str, Any](form), headers=headers, media_type=FORM_TYPE
    )

    answer = case.call_and_validate(base_url=base_url, checks=CHECKS, allow_redirects=False)

    assert (answer.status_code == 403) is (form != FORM)


def test_runs_and_their_arrows_are_as_the_document_says(base_url: str, run_id: str) -> None:
    case = interface["/runs/{run_id}"]["GET"].Case(path_parameters={"run_id": run_id})

    run = case.call_and_validate(base_url=base_url, checks=CHECKS).json()
    interface["/runs"]["GET"].Case().call_and_validate(base_url=base_url, checks=CHECKS)

    arrows = [event["arrow"] for event in run["arrows"]]
    assert run["status"] == "succeeded"
    assert arrows in ([1, 4, 4], [4, 4])  # the token may be there from a run before


def test_a_body_that_is_broken_starts_no_run(base_url: str) -> None:
    host, port = base_url.removeprefix("http://").split(":")
    head = f"POST /runs HTTP/1.1\r\nHost: {host}\r\nContent-Type: {FORM_TYPE}\r\n"
    with socket.create_connection(("127.0.0.1", int(port)), SECONDS) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode())
        connection.sendall(b"control_token\r\n0\r\n\r\n")
        answer = connection.recv(4096)

    assert answer.split()[1] == b"400"
