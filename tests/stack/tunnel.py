"""Lets a container reach servers on the loopback of the machine that runs the tests.

    with tunnel("a-container", [41000]):  # http://127.0.0.1:41000 is one server, here and in there

What a connection says passes through standard input and output of a process in the container. So
such a server stays on loopback, whatever engine and firewall there are, and its URL, which is an
issuer identifier, is the same string on both sides.

The process in the container is this module too: it imports nothing but the standard library.
"""

import itertools
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread
from typing import IO

HEAD = struct.Struct(">HII")
"""Before each message: port, number of the connection, length; 0 says that no more will come."""
LISTENING = b"listening\n"
CHUNK_BYTES = 65536
END_SECONDS = 30

Key = tuple[int, int]
"""Port and number of a connection."""


@contextmanager
def tunnel(container: str, ports: Iterable[int]) -> Iterator[None]:
    """Let ``container`` reach the servers at ``ports`` of our loopback, at the same ports."""
    command = ["docker", "exec", "--interactive", container]
    command += ["python", "-c", Path(__file__).read_text("utf-8"), *map(str, ports)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == LISTENING
        worker = Thread(target=End(process.stdin, process.stdout).work)
        worker.start()
        try:
            yield
        finally:
            process.stdin.close()
            worker.join(END_SECONDS)


class End:
    """One end: takes connections or makes them, and passes on what they say."""

    def __init__(self, to_other_end: IO[bytes], from_other_end: IO[bytes]) -> None:
        self._to_other_end, self._from_other_end = to_other_end, from_other_end
        self._connections: dict[Key, _Connection] = {}
        self._lock = Lock()

    def listen(self, port: int) -> None:
        """Take connections at ``port``; each becomes one at the other end."""
        server = socket.create_server(("127.0.0.1", port))
        Thread(target=self._accept, args=(server, port), daemon=True).start()

    def work(self) -> None:
        """Give each connection what comes for it, until the other end is gone."""
        while head := self._from_other_end.read(HEAD.size):
            port, number, length = HEAD.unpack(head)
            self._take((port, number), self._from_other_end.read(length))
        for connection in self._connections.values():
            connection.break_off()

    def _accept(self, server: socket.socket, port: int) -> None:
        for number in itertools.count():
            self._add((port, number), server.accept()[0])

    def _take(self, key: Key, octets: bytes) -> None:
        if key not in self._connections and octets:
            try:
                self._add(key, socket.create_connection(("127.0.0.1", key[0])))
            except OSError:  # nobody listens: to hang up is as near as this comes to a refusal
                self._say(key, b"")
        if key in self._connections:
            self._connections[key].say(octets)

    def _add(self, key: Key, opened: socket.socket) -> None:
        connection = self._connections[key] = _Connection(opened)
        Thread(target=self._pass_on, args=(key, connection), daemon=True).start()

    def _pass_on(self, key: Key, connection: "_Connection") -> None:
        for octets in connection.heard():
            self._say(key, octets)
        self._say(key, b"")

    def _say(self, key: Key, octets: bytes) -> None:
        with self._lock, suppress(OSError, ValueError):  # the other end is gone
            self._to_other_end.write(HEAD.pack(*key, len(octets)) + octets)
            self._to_other_end.flush()


class _Connection:
    """A socket that is closed when both sides have said all."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._open_sides = 2
        self._lock = Lock()

    def heard(self) -> Iterator[bytes]:
        with suppress(OSError):
            while octets := self._socket.recv(CHUNK_BYTES):
                yield octets
        self._close_side()

    def say(self, octets: bytes) -> None:
        with suppress(OSError):  # whoever it is does not listen any more
            if octets:
                self._socket.sendall(octets)
            else:
                self._socket.shutdown(socket.SHUT_WR)
        if not octets:
            self._close_side()

    def break_off(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._close_side()

    def _close_side(self) -> None:
        with self._lock:
            self._open_sides -= 1
            if self._open_sides <= 0:
                self._socket.close()


if __name__ == "__main__":
    end = End(sys.stdout.buffer, sys.stdin.buffer)
    for one in sys.argv[1:]:
        end.listen(int(one))
    sys.stdout.buffer.write(LISTENING)
    sys.stdout.buffer.flush()
    end.work()
