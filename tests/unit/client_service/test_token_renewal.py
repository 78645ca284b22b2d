import subprocess
import sys
import threading
from collections.abc import Callable
from threading import Event
from unittest import mock

from client_service.token_messages import AccessToken
from client_service.token_renewal import DaemonTimer, EarlyRenewal
from tests.unit.client_service.conftest import Clock, HandTimer

LONG = 3600


def nothing() -> None:
    """Do nothing."""


def waiting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "token renewal"]


def test_work_is_done_in_a_thread_of_its_own_within_the_frame_given() -> None:
    done, seen = Event(), []

    def around(work: Callable[[], None]) -> None:
        seen.append(threading.current_thread().name)
        work()

    DaemonTimer(around).set(0, done.set)

    assert done.wait(10)
    assert seen == ["token renewal"]


def test_what_is_set_anew_takes_the_place_of_what_waits() -> None:
    before, timer = len(waiting()), DaemonTimer()
    timer.set(LONG, nothing)
    first = waiting()[-1]

    timer.set(LONG, nothing)

    first.join(10)
    assert not first.is_alive()
    assert len(waiting()) == before + 1
    timer.stop()


def test_a_timer_that_is_stopped_has_no_thread_and_takes_no_work() -> None:
    before, timer = len(waiting()), DaemonTimer()
    timer.set(LONG, nothing)
    thread = waiting()[-1]

    timer.stop()
    timer.set(0, nothing)

    thread.join(10)
    assert len(waiting()) == before


def test_a_thread_that_waits_keeps_no_process_alive() -> None:
    code = (
        "from client_service.token_renewal import DaemonTimer; DaemonTimer().set(3600, print);"
        "import threading; print([t.daemon for t in threading.enumerate()][1:])"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )

    assert ended.stdout == "[True]\n"


def test_where_no_thread_is_to_be_had_who_asks_next_has_it_renewed(clock: Clock) -> None:
    class Threadless(HandTimer):
        def set(self, seconds: float, work: Callable[[], None]) -> None:
            if seconds <= 0:
                super().set(seconds, work)

    renewed: list[AccessToken] = []
    token = AccessToken("t", renew_at=1080, ends_at=1100)
    early = EarlyRenewal(renewed.append, Threadless(clock), clock)
    early.plan(token)
    clock.time = 1080

    early.note_use(token)
    early.note_use(token)

    assert renewed == [token]


def test_a_time_that_no_thread_can_wait_for_is_none_to_the_timer() -> None:
    failed: list[object] = []
    timer = DaemonTimer()
    with mock.patch("threading.excepthook", failed.append):
        timer.set(1e300, lambda: None)
        timer.stop()
        assert timer._waiting is not None
        timer._waiting.join()

    assert failed == []
