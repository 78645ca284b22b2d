"""A Valkey server in a container on loopback."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import docker
from docker.models.containers import Container
from pydantic import SecretStr
from valkey import Valkey
from valkey.exceptions import ValkeyError

from tests.stack.local_stack import free_ports

IMAGE = "valkey/valkey:8"
READY_SECONDS = 30
PASSWORD = SecretStr("s3cret-of-valkey-in-tests")


@dataclass(frozen=True)
class ValkeyServer:
    """A server that keeps everything in memory; a test may kill it and start it again."""

    container: Container
    port: int

    @property
    def url(self) -> str:
        """What the setting `throttling_url` takes."""
        return f"valkey://127.0.0.1:{self.port}/0"

    @contextmanager
    def client(self) -> Iterator[Valkey]:
        """Open a client of the tests' own."""
        password = PASSWORD.get_secret_value()
        with closing(Valkey(port=self.port, password=password, socket_timeout=5)) as client:
            yield client

    def kill(self) -> None:
        """Stop it at once; it forgets everything."""
        self.container.kill()

    def start(self) -> None:
        """Start it again, and return when it can be asked."""
        self.container.start()
        self.wait()

    def wait(self) -> None:
        """Return when it can be asked."""
        end = time.monotonic() + READY_SECONDS
        with self.client() as client:
            while True:
                try:
                    client.ping()
                except ValkeyError as error:
                    if time.monotonic() > end:
                        log = self.container.logs().decode()
                        raise AssertionError(f"Valkey did not come up; its log: {log}") from error
                    time.sleep(0.05)
                else:
                    return


@contextmanager
def valkey_server() -> Iterator[ValkeyServer]:
    """Start a server and give it when it answers; its container is gone at the end."""
    (port,) = free_ports(1)
    engine = docker.from_env()
    container = None
    try:
        container = engine.containers.run(
            IMAGE,
            ["--requirepass", PASSWORD.get_secret_value()],
            ports={"6379/tcp": ("127.0.0.1", port)},
            detach=True,
        )
        server = ValkeyServer(container, port)
        server.wait()
        yield server
    finally:
        if container is not None:
            container.remove(force=True, v=True)
        engine.close()
