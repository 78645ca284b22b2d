"""A load that keeps its pace, whatever the server does: `python -m bench.constant_rate`.

Requests are due at fixed times. Where all connections wait for an answer, the next request waits
too, and its time counts from when it was due: that is what a client in a queue feels, and what a
closed loop leaves out ("coordinated omission"). It is no faster than some 8,000 requests a second,
so it is for the half of what a server can do, not for its top.

It is a process of its own on the load's core. What to do it reads as JSON from its standard input,
and it prints the latencies as JSON; the answers go to a file, as wrk's do (bench/wrk.py).
"""

import gc
import json
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.launch import Ask
from bench.programs import ROOT
from bench.spread import percentile
from bench.wrk import CONNECTIONS, LoadError, LoadResult

DRAIN_SECONDS = 20
BUFFER = 65536
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Task:
    """What to send, how often, for how long, and where the answers go."""

    port: int
    request: str
    rate: float
    seconds: float
    answers: str
    connections: int = CONNECTIONS


def load_at(
    port: int, ask: Ask, rate: float, seconds: float, core: int, answers: Path
) -> LoadResult:
    """Ask ``rate`` times a second from ``core``; raise LoadError where an answer is missing."""
    task = Task(port, request_text(port, ask), rate, seconds, str(answers))
    command = ["taskset", "-c", str(core), sys.executable, "-m", "bench.constant_rate"]
    ran = subprocess.run(  # noqa: S603 - this module
        command,
        cwd=ROOT,
        input=json.dumps(asdict(task)),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        raise LoadError(f"the load at a constant rate: {(ran.stderr or ran.stdout).strip()}")
    said = json.loads(ran.stdout)
    latencies = sorted(said["latencies_ms"])
    p50, p99 = percentile(latencies, 50), percentile(latencies, 99)
    return LoadResult(len(latencies), said["seconds"], p50, p99, said["cpu_seconds"])


def request_text(port: int, ask: Ask) -> str:
    """Return the request as it goes over the wire; it has no character beyond ASCII."""
    headers = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(ask.body)), **ask.headers}
    lines = [f"{ask.method} {ask.path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "", ask.body])


class _Connection:
    """One connection: idle, or waiting for the answer to the request that was due at a time.

    A server may end it with any answer, as Tomcat does with the hundredth; then it is opened anew.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._received = b""
        self.due = 0.0
        self.is_over = False
        self.socket = self._opened()

    def _opened(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self._port), timeout=DRAIN_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.socket.sendall(request)

    def answer(self) -> tuple[int, bytes] | None:
        """Return status and body when they are whole."""
        received = self.socket.recv(BUFFER)
        if not received:
            raise LoadError("a connection ended before its answer")
        self._received += received
        found = answer_in(self._received)
        if found is not None:
            self.is_over = is_last_on_its_connection(self._received)
            self._received = b""
        return found

    def open_anew(self) -> None:
        self.socket.close()
        self.socket, self.is_over = self._opened(), False


def is_last_on_its_connection(answer: bytes) -> bool:
    """Tell whether the server says that it ends the connection with this answer."""
    head = answer.partition(END_OF_HEAD)[0].lower()
    return b"\r\nconnection: close" in head


def answer_in(received: bytes) -> tuple[int, bytes] | None:
    """Return status and body of the answer that was received, None where some of it is missing."""
    head, separator, body = received.partition(END_OF_HEAD)
    if not separator:
        return None
    status_line, *lines = head.decode("latin-1").split("\r\n")
    status = int(status_line.split(" ")[1])
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("transfer-encoding", "").lower() == "chunked":
        whole = _unchunked(body)
        return None if whole is None else (status, whole)
    length = int(headers.get("content-length", "0"))
    return (status, body) if len(body) >= length else None


def _unchunked(body: bytes) -> bytes | None:
    """Return what the chunks hold, None where the last one is missing (RFC 9112 §7.1)."""
    whole = b""
    while body:
        size, separator, rest = body.partition(b"\r\n")
        if not separator:
            return None
        length = int(size, 16)
        if length == 0:
            return whole
        whole, body = whole + rest[:length], rest[length + 2 :]
    return None


def main() -> None:
    """Do the task on standard input, and print what was measured."""
    task = Task(**json.load(sys.stdin))
    gc.disable()
    began = time.perf_counter()
    latencies = pace(task)
    seconds = time.perf_counter() - began
    cpu = time.process_time()
    json.dump({"latencies_ms": latencies, "seconds": seconds, "cpu_seconds": cpu}, sys.stdout)


def pace(task: Task) -> list[float]:
    """Do the task; return each latency in milliseconds, from when its request was due."""
    request, wanted = task.request.encode(), round(task.rate * task.seconds)
    connections = [_Connection(task.port) for _ in range(task.connections)]
    idle = deque(connections)
    latencies: list[float] = []
    sent, began = 0, time.perf_counter()
    last_due = began + task.seconds
    with selectors.DefaultSelector() as waiting, Path(task.answers).open("wb") as answers:
        for connection in connections:
            waiting.register(connection.socket, selectors.EVENT_READ, connection)
        while len(latencies) < wanted:
            now = time.perf_counter()
            if now > last_due + DRAIN_SECONDS:
                raise LoadError(f"{wanted - len(latencies)} answers never came")
            while idle and sent < wanted and (due := began + sent / task.rate) <= now:
                idle.popleft().send(request, due)
                sent += 1
            for ready, _ in waiting.select(_pause(began + sent / task.rate, bool(idle))):
                connection = ready.data
                found = connection.answer()
                if found is not None:
                    latencies.append((time.perf_counter() - connection.due) * 1000)
                    answers.write(b"%d %d\n%s\n" % (found[0], len(found[1]), found[1]))
                    if connection.is_over:
                        waiting.unregister(connection.socket)
                        connection.open_anew()
                        waiting.register(connection.socket, selectors.EVENT_READ, connection)
                    idle.append(connection)
    for connection in connections:
        connection.socket.close()
    return latencies


def _pause(next_due: float, may_send: bool) -> float:
    """Return for how long to wait for answers: not past the next request that could be sent."""
    return max(0.0, next_due - time.perf_counter()) if may_send else 1.0


if __name__ == "__main__":
    main()
