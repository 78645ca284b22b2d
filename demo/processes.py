"""Starts and stops one service as a local process, and tells whether it runs.

A running service holds a lock that it inherited: unlike a process id, a lock is never taken for
another's, and it is free at once when the last process of the service is gone.
"""

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

START_SECONDS = 30
STOP_SECONDS = 35
KILL_SECONDS = 5
POLL_SECONDS = 0.05
LARGEST_LOG_BYTES = 20_000_000

ROOT = Path(__file__).resolve().parent.parent


class DemoError(Exception):
    """Something that the user can mend; the text is one clear line that says how."""


@contextmanager
def one_start_at_a_time(state: Path) -> Iterator[None]:
    """Hold ``state`` for a start; raise DemoError where another one is at work there."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "start.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemoError("another `make up` is at work here: wait for it") from error
        yield


@dataclass(frozen=True)
class Service:
    """One of the three services as a local process: its package, port and files."""

    name: str
    port: int
    state: Path

    @property
    def url(self) -> str:
        """The base URL, with the host name under which the others know it."""
        return f"http://localhost:{self.port}"

    @property
    def log_file(self) -> Path:
        """Where it logs, one JSON object a line."""
        return self.state / "logs" / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """Where gunicorn's first process writes its id."""
        return self.state / "run" / f"{self.name}.pid"

    def is_running(self) -> bool:
        """Tell whether a process of this service lives."""
        if not self._lock_path().exists():
            return False
        lock = self._lock_file()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(lock)

    def is_ready(self) -> bool:
        """Tell whether it answers that it can work."""
        return is_ready(self.url)

    def require_free_port(self) -> None:
        """Raise DemoError where another program listens on the port."""
        require_free_port(self.name, self.port)

    def start(self, environment: dict[str, str]) -> None:
        """Start gunicorn as a daemon: it goes on when this process ends, and is not its child.

        Raises DemoError where it refuses to start.
        """
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > LARGEST_LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        command = [sys.executable, "-m", "gunicorn", "--config", f"{self.name}/gunicorn.conf.py"]
        command += ["--daemon", "--enable-stdio-inheritance", "--pid", str(self.pid_file)]
        command += [f"{self.name}.wsgi:app"]
        lock = self._lock_file()
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.pid_file.unlink(missing_ok=True)  # the id in it may be another process's by now
        with self.log_file.open("ab") as log:
            started = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                check=False,
            )
        os.close(lock)
        if started.returncode != 0:
            raise DemoError(f"the {self.name} did not start: {self._last_words()}")

    def wait_until_ready(self) -> None:
        """Return when the service can work; raise DemoError where it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if not self.is_running():
                raise DemoError(f"the {self.name} did not start: {self._last_words()}")
            if time.monotonic() > deadline:
                raise DemoError(f"the {self.name} is not ready after {START_SECONDS} s: make logs")
            time.sleep(POLL_SECONDS)

    def is_well(self) -> bool:
        """Tell whether it runs, its first process included, and can work."""
        return self.is_running() and self._signal(0) and self.is_ready()

    def stop(self) -> bool:
        """End the service, by force if it takes too long; tell whether it ran."""
        if not self.is_running():
            return False
        started = time.monotonic()
        while self.is_running():
            waited = time.monotonic() - started
            if waited > STOP_SECONDS + KILL_SECONDS:
                raise DemoError(f"the {self.name} does not end: see {self.pid_file}")
            self._signal(signal.SIGTERM if waited < STOP_SECONDS else signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        self.pid_file.unlink(missing_ok=True)
        return True

    def _signal(self, number: int) -> bool:
        """Send ``number`` to the first process and tell if it lives; the others end after it."""
        try:
            process = int(self.pid_file.read_text())
            os.kill(process, number)
        except (OSError, ValueError):
            return False
        return True

    def _lock_file(self) -> int:
        """Open the lock file; only the child it is passed to inherits it."""
        path = self._lock_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def _lock_path(self) -> Path:
        return self.state / "run" / f"{self.name}.lock"

    def _last_words(self) -> str:
        lines = self.log_file.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def is_ready(url: str) -> bool:
    """Tell whether the service at ``url`` answers that it can work."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310 - http
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def require_free_port(name: str, port: int) -> None:
    """Raise DemoError where another program listens on the ``port`` of the service ``name``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoError(
                f"port {port} of the {name} is taken by another program: stop it, "
                "or choose another port (make up AUTH_PORT=… BANK_PORT=… CLIENT_PORT=…)"
            ) from error


def write_whole(file: Path, text: str, mode: int = 0o600) -> None:
    """Write ``file`` so that a crash leaves the old text or the new one."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        os.fchmod(descriptor, mode)  # whatever the umask leaves of it
    fresh.replace(file)


def become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Turn this process into ``command``: it has the terminal, Ctrl-C and all the time it needs."""
    sys.stdout.flush()
    os.chdir(ROOT)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - the project's own programs
    except FileNotFoundError as error:
        raise DemoError(f"no {command[0]} command is found") from error


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the last thing that a command said."""
    lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
    return lines[-1] if lines else f"ended with status {result.returncode}"
