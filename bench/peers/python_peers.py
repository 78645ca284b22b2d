"""The peers in Python, on the same interpreter and the same locked packages as ours."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.launch import FORM, TOKEN_FORM, Ask, Launch, Peer, token_ask
from bench.programs import (
    GUNICORN_OF_PEERS,
    PEERS,
    ROOT,
    bench_python,
    bench_secret,
    free_port,
    python_versions,
)
from shared.service_app import WORKER_WITHOUT

OUR_WORKER = ("--worker-class", WORKER_WITHOUT, "--threads", "1", "--keep-alive", "5")
"""How our authorization server is served, unless it is told to have threads."""


def gunicorn(port: int, served: Sequence[str] = GUNICORN_OF_PEERS) -> tuple[str, ...]:
    """Return the command that serves `app:app` of the folder it runs in, with one worker."""
    command = (bench_python(), "-m", "gunicorn", "--workers", "1", *served)
    own = ("--bind", f"127.0.0.1:{port}", "--no-control-socket", "--log-level", "warning")
    return (*command, *own, "app:app")


def _hello(served: Sequence[str], _: Path) -> Launch:
    port = free_port()
    return Launch(
        gunicorn(port, served),
        PEERS / "flask-hello",
        port,
        (Ask("hello", "/hello", headers={"Content-Type": FORM}, body=TOKEN_FORM),),
        {"PYTHONPATH": str(ROOT)},  # where our worker is
        versions=python_versions(bench_python(), "Flask", "gunicorn"),
    )


def _authlib(algorithm: str, row_for_each_token: bool, folder: Path) -> Launch:
    port = free_port()
    return Launch(
        gunicorn(port),
        PEERS / "bare-authlib",
        port,
        (token_ask(algorithm, "/oauth/token", "bench", bench_secret()),),
        {
            "ALGORITHM": algorithm,
            "ROW_FOR_EACH_TOKEN": "1" if row_for_each_token else "",
            "DATABASE": str(folder / "authlib.db"),
            "ISSUER": f"http://127.0.0.1:{port}",
            "BENCH_SECRET": bench_secret(),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        "/jwks",
        python_versions(bench_python(), "Authlib", "joserfc", "Flask", "SQLAlchemy", "gunicorn"),
    )


def least_server(algorithm: str, asked: Ask, clients_database: Path | None = None) -> Launch:
    """Return how the least server in Flask is started, and that it is asked ``asked``.

    Without ``clients_database`` its one client is `bench`, with the secret of this run.
    """
    port = free_port()
    return Launch(
        gunicorn(port, OUR_WORKER),
        PEERS / "flask-least",
        port,
        (asked,),
        {
            "ALGORITHM": algorithm,
            "ISSUER": f"http://127.0.0.1:{port}",
            "BENCH_SECRET": bench_secret(),
            "CLIENTS_DATABASE": str(clients_database or ""),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        "/jwks",
        python_versions(bench_python(), "Flask", "gunicorn", "cryptography", "joserfc", "orjson"),
    )


def least_ask(algorithm: str) -> Ask:
    """Return the request of the one client of the least server in Flask."""
    return token_ask(algorithm, "/token", "bench", bench_secret())


def _least(algorithm: str, _: Path) -> Launch:
    return least_server(algorithm, least_ask(algorithm))


HELLO = Peer("Flask hello", partial(_hello, GUNICORN_OF_PEERS))
HELLO_ON_OUR_WORKER = Peer("Flask hello, our worker", partial(_hello, OUR_WORKER))
LEAST = tuple(
    Peer("the least in Flask", partial(_least, algorithm)) for algorithm in ("RS256", "ES256")
)
AUTHLIB = tuple(
    Peer("bare Authlib", partial(_authlib, algorithm, False)) for algorithm in ("RS256", "ES256")
)
AUTHLIB_WITH_ROWS = Peer("bare Authlib, a row per token", partial(_authlib, "RS256", True))
