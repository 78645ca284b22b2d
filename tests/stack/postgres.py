"""A PostgreSQL server in a container on loopback, and a database of its own for each test."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import docker
import psycopg
from pydantic import SecretStr

from tests.stack.local_stack import free_ports

IMAGE = "postgres:17"
READY_SECONDS = 30
PASSWORD = SecretStr("s3cret-of-postgres-in-tests")
# Nothing here has to outlive the tests, so it waits for no disk.
COMMAND = ["postgres", "-c", "fsync=off", "-c", "max_connections=200"]


@dataclass(frozen=True)
class PostgresDatabase:
    """An empty database, as `Database` and the settings of a service take it."""

    url: str
    password: SecretStr


@dataclass(frozen=True)
class PostgresServer:
    """A server that knows one user, who may do everything."""

    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def database(self, like: PostgresDatabase | None = None) -> Iterator[PostgresDatabase]:
        """Make a database and give it: empty, or a copy of one that nobody uses meanwhile.

        At the end it is dropped, whoever still uses it.
        """
        name = f"of_test_{next(self._numbers)}"
        template = like.url.rpartition("/")[2] if like else "template1"
        self._do(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"
            yield PostgresDatabase(url, PASSWORD)
        finally:
            self._do(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def away(self, database: PostgresDatabase) -> Iterator[None]:
        """Cut off whoever uses ``database``, and let nobody in while the block runs."""
        name = database.url.rpartition("/")[2]
        self._do(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            of_it = f"FROM pg_stat_activity WHERE datname = '{name}'"
            self._do("SELECT pg_terminate_backend(pid) " + of_it)
            yield
        finally:
            self._do(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    def wait(self, log: Callable[[], str]) -> None:
        """Return when it can be asked: while it prepares its data it listens on no port."""
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                return self._do("SELECT 1")
            except psycopg.OperationalError as error:
                if time.monotonic() > end:
                    raise AssertionError(f"PostgreSQL did not come up; its log: {log()}") from error
                time.sleep(0.1)

    def _do(self, statement: str) -> None:
        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=PASSWORD.get_secret_value(),
            autocommit=True,
            connect_timeout=5,
        ) as connection:
            connection.execute(statement.encode())


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server and give it when it answers; its container is gone at the end."""
    (port,) = free_ports(1)
    client = docker.from_env()
    container = None
    try:
        container = client.containers.run(
            IMAGE,
            COMMAND,
            user="postgres",  # its image starts as root, which would need capabilities
            environment={"POSTGRES_PASSWORD": PASSWORD.get_secret_value()},
            ports={"5432/tcp": ("127.0.0.1", port)},
            detach=True,
        )
        server = PostgresServer(port)
        server.wait(lambda: container.logs().decode())
        yield server
    finally:
        if container is not None:
            container.remove(force=True, v=True)
        client.close()
