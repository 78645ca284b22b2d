"""The load: wrk keeps 16 connections busy from one core, and keeps every answer.

A request with its answer written down costs it about 12 µs of CPU, so it could keep up with some
80,000 a second: it is not what limits the figures. How busy its core was stands beside them.
"""

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.launch import Ask

CONNECTIONS = 16
SCRIPT = Path(__file__).with_suffix(".lua")
MISSING = "wrk is not installed (on Debian and Ubuntu: apt install wrk)"


class LoadError(Exception):
    """A load that could not be put on, or that was not answered as it has to be."""


@dataclass(frozen=True)
class LoadResult:
    """What one load measured."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float = 0
    """What the load itself took of its core."""

    @property
    def rate(self) -> float:
        """Return the answers per second."""
        return self.requests / self.seconds


def load(
    port: int,
    ask: Ask,
    seconds: float,
    core: int,
    answers: Path | None = None,
    connections: int = CONNECTIONS,
) -> LoadResult:
    """Ask for ``seconds`` from ``core``, and write the answers to a file where one is named.

    Raises LoadError where an answer is missing or has another status than 2xx.
    """
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}"]
    command += [f"-d{max(1, round(seconds))}s", "--timeout", "20s", "--script", str(SCRIPT)]
    command += [f"http://127.0.0.1:{port}{ask.path}"]
    environment = os.environ | _told(ask, seconds, answers)
    before = _cpu_seconds_of_children()
    ran = subprocess.run(  # noqa: S603 - built above, from our own parts
        command, env=environment, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        raise LoadError(f"wrk: {(ran.stderr or ran.stdout).strip()}")
    return replace(result_in(ran.stdout), cpu_seconds=_cpu_seconds_of_children() - before)


def require_wrk() -> None:
    """Raise LoadError where wrk is not installed."""
    if shutil.which("wrk") is None:
        raise LoadError(MISSING)


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _told(ask: Ask, seconds: float, answers: Path | None) -> dict[str, str]:
    """Return what the script reads in its environment."""
    told = {
        "BENCH_METHOD": ask.method,
        "BENCH_HEADERS": "\n".join(f"{name}: {value}" for name, value in ask.headers.items()),
        "BENCH_BODY": ask.body,
    }
    if answers is not None:
        told["BENCH_ANSWERS_FILE"] = str(answers)
    if ask.varied is not None:
        varied = ask.varied(seconds)
        told |= {"BENCH_VARIED_FILE": str(varied.file), "BENCH_VARIED_KIND": varied.part}
    return told


def result_in(output: str) -> LoadResult:
    """Return the figures in what wrk printed; the script's own line is the last.

    Raises LoadError where an answer is missing or has another status than 2xx.
    """
    said = json.loads(output.strip().splitlines()[-1])
    if not said["requests"]:
        raise LoadError("no answer came while the load was on: a server this slow needs longer")
    if said["refused"] or said["broken"]:
        raise LoadError(
            f"of {said['requests']} answers {said['refused']} were no 2xx, "
            f"and {said['broken']} requests had none"
        )
    seconds = said["microseconds"] / 1e6
    return LoadResult(said["requests"], seconds, said["p50"] / 1000, said["p99"] / 1000)


def answers_in(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield status and body of each answer; the last one may be cut off, and is left out."""
    with file.open("rb") as stream:
        while head := stream.readline():
            status, length = map(int, head.split())
            body = stream.read(length)
            if stream.read(1) != b"\n":
                return
            yield status, body
