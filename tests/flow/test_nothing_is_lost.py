"""Processes die, ports are taken, starts are cut off: `make up` brings it all back."""

import os
import shutil
import signal
import socket

import pytest
import requests

from demo.processes import DemoError
from shared.arrows import Arrow
from shared.identifiers import DEMO_CLIENT
from tests.stack import start_run
from tests.stack.local_stack import LocalStack, local_stack, register_client

TIMEOUT_SECONDS = 15


@pytest.mark.parametrize("name", ["auth_server", "resource_server"])  # the client: below
def test_a_killed_service_comes_back_with_everything_it_had_acknowledged(
    own_stack: LocalStack, name: str
) -> None:
    client = register_client(own_stack, f"registered-before-{name}")
    before = own_stack.run_once()
    killed = next(service for service in own_stack.demo.services if service.name == name)

    os.killpg(os.getpgid(int(killed.pid_file.read_text())), signal.SIGKILL)
    own_stack.demo.up()
    after = own_stack.run_once()

    assert (before.arrows, after.arrows) == (list(Arrow), list(Arrow))
    listed = own_stack.cli("auth_server", "clients", "show", client.client_id, "--json")
    assert listed.returncode == 0


def test_a_run_that_a_kill_cut_off_is_recorded_as_interrupted(own_stack: LocalStack) -> None:
    bank, client = own_stack.demo.resource_server, own_stack.demo.client_service
    bank_processes = os.getpgid(int(bank.pid_file.read_text()))
    os.killpg(bank_processes, signal.SIGSTOP)  # so that the run is still under way
    start_run(own_stack)  # 409 where a tick was faster
    runs = requests.get(f"{client.url}/runs", timeout=TIMEOUT_SECONDS).json()["runs"]
    is_ours = {"job": "reconcile", "status": "running"}.items()
    under_way = [run["id"] for run in runs if run.items() >= is_ours]
    os.killpg(os.getpgid(int(client.pid_file.read_text())), signal.SIGKILL)
    os.killpg(bank_processes, signal.SIGCONT)

    own_stack.demo.up()
    after = own_stack.run_once()

    run = requests.get(f"{client.url}/runs/{under_way[0]}", timeout=TIMEOUT_SECONDS).json()
    assert (len(under_way), run["status"]) == (1, "interrupted")
    assert after.error is None


def test_credentials_that_the_vault_lost_or_never_got_are_replaced(own_stack: LocalStack) -> None:
    lost = own_stack.read_from_vault(DEMO_CLIENT)
    shutil.rmtree(own_stack.demo.state / "vault")

    own_stack.demo.up()

    assert own_stack.run_once().arrows == list(Arrow)
    assert own_stack.read_from_vault(DEMO_CLIENT)["client_secret"] != lost["client_secret"]


def test_down_stops_all_three_and_keeps_their_data(own_stack: LocalStack) -> None:
    stopped = own_stack.demo.down()

    assert [service.name for service in stopped] == [
        "auth_server",
        "resource_server",
        "client_service",
    ]
    assert [service.is_running() for service in own_stack.demo.services] == [False] * 3
    assert (own_stack.demo.state / "auth_server.db").exists()


def test_a_taken_port_is_one_clear_line(own_stack: LocalStack) -> None:
    own_stack.demo.resource_server.stop()
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", own_stack.demo.ports.resource_server))
        taker.listen()

        with pytest.raises(DemoError, match=r"port \d+ of the resource_server is taken") as told:
            own_stack.demo.up()

    assert "\n" not in str(told.value)


def test_a_system_moved_to_other_ports_still_passes_the_five_arrows(
    own_stack: LocalStack,
) -> None:
    own_stack.demo.down()
    moved = local_stack(own_stack.demo.state)
    try:
        moved.demo.up()
        run = moved.run_once()
    finally:
        moved.demo.down()

    assert run.arrows == list(Arrow)
    assert run.error is None
