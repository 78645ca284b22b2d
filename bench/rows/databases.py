"""What the database costs: SQLite and PostgreSQL, with clients kept in memory and without."""

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.launch import CannotRunError, Launch, Peer
from bench.machine import Cores
from bench.peers.ours import OurServer
from bench.plan import Plan
from bench.programs import CACHE, run
from bench.rows.variants import measure_variants

IMAGE = "postgres:17"
START_SECONDS = 60
KEPT_SECONDS = (5, 0)
ALGORITHM = "ES256"
URL_VARIABLE, PASSWORD_VARIABLE = "DATABASE_URL", "DATABASE_PASSWORD"

LINES = (
    "## Tokens, by the database",
    "",
    "A token for a client that is kept in memory asks no database; kept for 0 seconds, every token "
    "costs one read. PostgreSQL runs beside the load, off the server's core.",
)


@dataclass(frozen=True)
class PostgreSQL:
    """Where a PostgreSQL is: a URL without a password, and the password."""

    url: str
    password: str


def measure(plan: Plan, cores: Cores, out: Path) -> str:
    """Measure our server on both databases."""
    with _postgresql(cores) as found:
        variants = [
            Peer(f"{name}, clients kept {seconds} s", partial(prepare, seconds))
            for name, prepare in (("SQLite", _on_sqlite), ("PostgreSQL", _OnPostgreSQL(found)))
            for seconds in KEPT_SECONDS
        ]
        return measure_variants("databases", LINES, variants, plan, cores, out)


def _on_sqlite(kept_seconds: int, folder: Path) -> Launch:
    server = OurServer(folder, _settings(kept_seconds))
    server.set_up()
    return server.launch((ALGORITHM, "bench", server.add_client("bench")))


class _OnPostgreSQL:
    """Prepares servers that share one set-up, as there is one database for all."""

    def __init__(self, found: PostgreSQL | str) -> None:
        self._found = found
        self._made: tuple[OurServer, str] | None = None

    def __call__(self, kept_seconds: int, folder: Path) -> Launch:
        server, secret = self._made = self._made or self._set_up(folder)
        settings = {**server.settings, **_settings(kept_seconds)}
        return replace(server, settings=settings).launch((ALGORITHM, "bench", secret))

    def _set_up(self, folder: Path) -> tuple[OurServer, str]:
        if isinstance(self._found, str):
            raise CannotRunError(self._found)
        server = OurServer(folder, {"AUTH_SERVER_DATABASE_URL": self._found.url})
        server.keep_secret("auth_server_database_password", self._found.password)
        server.set_up()
        return server, server.add_client("bench")


def _settings(kept_seconds: int) -> dict[str, str]:
    return {
        "AUTH_SERVER_ACCESS_TOKEN_ALGORITHM": ALGORITHM,
        "AUTH_SERVER_CLIENT_CACHE_SECONDS": str(kept_seconds),
    }


@contextmanager
def _postgresql(cores: Cores) -> Iterator[PostgreSQL | str]:
    """Yield the one that the environment names, or one in a container; or why there is none."""
    if URL_VARIABLE in os.environ:
        yield PostgreSQL(os.environ[URL_VARIABLE], os.environ.get(PASSWORD_VARIABLE, ""))
        return
    password = secrets.token_urlsafe(24)
    try:
        container = _start_container(password, cores)
    except CannotRunError as reason:
        yield f"no {URL_VARIABLE} is set, and no container can be started: {reason}"
        return
    try:
        yield PostgreSQL(_url_of(container), password)
    finally:
        _docker("rm", "--force", "--volumes", container)


def _start_container(password: str, cores: Cores) -> str:
    """Return the id of a PostgreSQL that is ready; its data goes with it."""
    if shutil.which("docker") is None:
        raise CannotRunError("no docker command is found")
    options = ("--publish", "127.0.0.1::5432", "--cpuset-cpus", str(cores.load))
    told = ("--env", "POSTGRES_PASSWORD", "--env", "POSTGRES_DB=bench")
    environment = {"POSTGRES_PASSWORD": password}
    command = ["docker", "run", "--detach", *options, *told, IMAGE]
    container = run(command, CACHE, environment).strip()
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(container):
        if time.monotonic() > deadline:
            _docker("rm", "--force", "--volumes", container)
            raise CannotRunError(f"PostgreSQL is not ready after {START_SECONDS} s")
        time.sleep(0.2)
    return container


def _is_ready(container: str) -> bool:
    """Tell whether it answers over TCP: while it sets itself up it listens on a socket alone."""
    try:
        _docker("exec", container, "pg_isready", "--host=127.0.0.1", "--dbname=bench")
    except CannotRunError:
        return False
    return True


def _url_of(container: str) -> str:
    ports = json.loads(_docker("inspect", container))[0]["NetworkSettings"]["Ports"]
    port = ports["5432/tcp"][0]["HostPort"]
    return f"postgresql+psycopg://postgres@127.0.0.1:{port}/bench"


def _docker(*arguments: str) -> str:
    return run(["docker", *arguments], CACHE)
