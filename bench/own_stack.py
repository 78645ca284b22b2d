"""Our three services as `make up` starts them, and a process beside them that measures itself.

The process does the client's work, so it has the server's core; the services have the load's. All
of them have the Python of the benchmark.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.comparison import run_folder
from bench.machine import Cores
from bench.process import Server, ServerError
from bench.programs import ROOT, bench_python, free_port, run
from shared.settings import STATE_DIR_VARIABLE

PORT_VARIABLES = ("AUTH_PORT", "BANK_PORT", "CLIENT_PORT")


@dataclass(frozen=True)
class OwnStack:
    """The three services, whose state lies in ``folder``."""

    folder: Path
    cores: Cores
    environment: Mapping[str, str]
    python: str = field(default_factory=bench_python)

    def demo(self, *arguments: str) -> str:
        """Return what a command of `python -m demo` printed; its processes have the load's core."""
        command = ("taskset", "-c", str(self.cores.load), self.python, "-m", "demo", *arguments)
        return run(command, ROOT, self.environment)

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time that each service has taken so far."""
        return {
            file.stem: Server(os.getsid(int(file.read_text()))).cpu_seconds()
            for file in (self.folder / "run").glob("*.pid")
        }


class Companion:
    """A process that does what a line on its standard input says, and answers with one of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.server = Server(process.pid)

    def ask(self, line: str) -> Any:
        """Return the answer to ``line``; raise ServerError where there is none."""
        assert self._process.stdin is not None, "it was asked for"
        assert self._process.stdout is not None, "it was asked for"
        try:
            print(line, file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise ServerError(
                f"the measuring process ended at {line!r}; its words are above"
            ) from error


@contextmanager
def own_stack(cores: Cores, **settings: str) -> Iterator[OwnStack]:
    """Start the services with ``settings``, whose client does nothing by itself; then end them."""
    with run_folder() as folder:
        environment = {
            STATE_DIR_VARIABLE: str(folder),
            "STACK": "local",
            "FLASK_SKIP_DOTENV": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "CLIENT_SERVICE_SCHEDULER": "false",
            **{name: str(free_port()) for name in PORT_VARIABLES},
            **settings,
        }
        stack = OwnStack(folder, cores, environment)
        print("starting the three services", flush=True)
        try:
            stack.demo("up")
            yield stack
        finally:
            stack.demo("down")


@contextmanager
def companion(stack: OwnStack, module: str) -> Iterator[Companion]:
    """Start ``module`` as a client of ``stack``, with the server's core; end it afterwards."""
    pinned = ["taskset", "-c", str(stack.cores.server), stack.python, "-m", module]
    with subprocess.Popen(  # noqa: S603 - a module of our own
        pinned,
        cwd=ROOT,
        env=os.environ | dict(stack.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as its `Server` is found by its session
    ) as process:
        try:
            yield Companion(process)
        finally:
            process.terminate()
