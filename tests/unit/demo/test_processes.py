import os
import socket
from pathlib import Path

import pytest

from demo.processes import DemoError, Service


@pytest.fixture
def port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def test_a_service_that_was_never_started_does_not_run(tmp_path: Path, port: int) -> None:
    service = Service("auth_server", port, tmp_path)

    assert (service.is_running(), service.is_ready(), service.is_well()) == (False, False, False)
    assert service.stop() is False


def test_the_process_id_of_a_service_that_died_is_not_taken_for_it(
    tmp_path: Path, port: int
) -> None:
    service = Service("auth_server", port, tmp_path)
    service.pid_file.parent.mkdir(parents=True)
    service.pid_file.write_text("1")

    assert service.is_running() is False
    assert service.stop() is False


def test_a_service_that_ends_at_its_start_says_why_in_its_last_line(
    tmp_path: Path, port: int
) -> None:
    service = Service("no_such_service", port, tmp_path)

    with pytest.raises(DemoError, match=r"the no_such_service did not start: .*no_such_service"):
        service.start({"PATH": ""})


def test_a_free_port_is_free_and_a_taken_one_is_said_to_be_taken(tmp_path: Path) -> None:
    port = 20_000 + os.getpid() % 10_000  # none that a connection of another test is given
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", port))
        taker.listen()
        taken = Service("auth_server", port, tmp_path)
        with pytest.raises(DemoError, match="is taken by another program"):
            taken.require_free_port()

    taken.require_free_port()
    assert taken.is_running() is False
