"""A server under measurement: started on its core, watched, and ended with all its children.

Each server has a session of its own, so whatever it forks is found by the session's id: its CPU
time, its memory and its open files are those of all its processes together.
"""

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.launch import Ask, Launch
from bench.machine import TICKS_PER_SECOND

STOP_SECONDS = 20
POLL_SECONDS = 0.005
_SESSION, _USER_TICKS, _SYSTEM_TICKS = 5, 13, 14  # columns of /proc/PID/stat, from 0


class ServerError(Exception):
    """A server that does not start, or does not answer as it should."""


class Server:
    """The processes of one server that runs."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def cores(self) -> set[int]:
        """Return the cores that its processes may run on."""
        return os.sched_getaffinity(self._leader)

    def cpu_seconds(self) -> float:
        """Return the CPU time that its living processes have taken so far."""
        return sum(_cpu_seconds(stat) for _, stat in self._processes())

    def memory_mib(self) -> float:
        """Return its proportional set size: memory shared by N processes counts 1/N for each."""
        return sum(_pss_kib(process) for process, _ in self._processes()) / 1024

    def open_files(self) -> int:
        """Return how many file descriptors its processes have open."""
        return sum(_count(Path(f"/proc/{process}/fd")) for process, _ in self._processes())

    def processes(self) -> int:
        """Return how many processes it has."""
        return len(list(self._processes()))

    def _processes(self) -> Iterator[tuple[int, list[str]]]:
        for process, stat in _all_processes():
            if stat[_SESSION] == str(self._leader):
                yield process, stat


@contextmanager
def running(launch: Launch, cores: Iterable[int], log: Path) -> Iterator[tuple[Server, float]]:
    """Start the server and yield it with the seconds until its first good answer; then end it.

    Raises ServerError where there is no such answer in time.
    """
    pinned = ["taskset", "-c", ",".join(map(str, cores)), *launch.command]
    with log.open("ab") as output:
        began = time.perf_counter()
        leader = subprocess.Popen(  # noqa: S603 - the benchmark starts its own servers
            pinned,
            cwd=launch.folder,
            env=os.environ | dict(launch.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await_first_answer(launch, lambda: leader.poll() is None, log)
        yield Server(leader.pid), time.perf_counter() - began
    finally:
        _end(leader)


def status_of(port: int, ask: Ask) -> int:
    """Return the status of one answer, 0 where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(ask.method, ask.path, ask.body or None, dict(ask.headers))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _await_first_answer(launch: Launch, lives: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + launch.start_seconds
    while status_of(launch.port, launch.first or launch.asks[0]) != 200:
        if not lives():
            raise ServerError(f"it ended at its start: {log}")
        if time.monotonic() > deadline:
            raise ServerError(f"no good answer in {launch.start_seconds} s: {log}")
        time.sleep(POLL_SECONDS)


def _end(leader: subprocess.Popen[bytes]) -> None:
    """End the session's processes, by force if they take too long."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, number)
        with suppress(subprocess.TimeoutExpired):
            leader.wait(STOP_SECONDS)
            break
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)  # what outlived its leader


def _all_processes() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                yield int(folder.name), stat_columns((folder / "stat").read_text())


def stat_columns(text: str) -> list[str]:
    """Return the columns of `/proc/PID/stat`; the second, a name, may hold spaces and brackets."""
    before, _, after = text.rpartition(")")
    number, _, name = before.partition(" ")
    return [number, f"{name})", *after.split()]


def _cpu_seconds(stat: list[str]) -> float:
    return (int(stat[_USER_TICKS]) + int(stat[_SYSTEM_TICKS])) / TICKS_PER_SECOND


def _pss_kib(process: int) -> int:
    with suppress(OSError):  # it has ended meanwhile
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _count(folder: Path) -> int:
    with suppress(OSError):  # it has ended meanwhile
        return len(list(folder.iterdir()))
    return 0
