"""APIs with a route that is open and one that wants a token: ours, and the peers' own checks.

They all trust the same issuer, by its keys at `/jwks`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.launch import Ask, Launch, Peer
from bench.peers.python_peers import gunicorn
from bench.peers.spring import spring_program
from bench.programs import (
    PEERS,
    ROOT,
    bench_python,
    bench_secret,
    free_port,
    node_modules,
    npm_versions,
    python_versions,
)
from shared.settings import STATE_DIR_VARIABLE

AUDIENCE = "http://localhost:9001"
GUARDED = {"RS256": "/guarded", "ES256": "/guarded"}
LIBRARY_PATHS = {"RS256": "/auth0-rs256", "ES256": "/auth0-es256"}
"""express-oauth2-jwt-bearer takes one algorithm, so there is a route for each."""


@dataclass(frozen=True)
class TrustedIssuer:
    """Whose tokens the APIs accept."""

    url: str
    jwks: Mapping[str, Any]


Asks = Callable[[Mapping[str, str], Path], tuple[Ask, ...]]
"""Returns the requests, given the guarded path of each algorithm and a folder for files."""


def api_peers(issuer: TrustedIssuer, asks: Asks) -> list[Peer]:
    """Return all of them."""
    return [
        Peer("ours", partial(_ours, issuer, asks)),
        Peer("Spring", partial(_spring, issuer, asks), compiles_while_it_runs=True),
        Peer("Express, jose", partial(_node, GUARDED, issuer, asks)),
        Peer("Express, express-oauth2-jwt-bearer", partial(_node, LIBRARY_PATHS, issuer, asks)),
        Peer("Flask, Authlib's protector", partial(_authlib, issuer, asks)),
    ]


def _ours(issuer: TrustedIssuer, asks: Asks, folder: Path) -> Launch:
    port, python = free_port(), bench_python()
    config = str(ROOT / "resource_server" / "gunicorn.conf.py")
    return Launch(
        (python, "-m", "gunicorn", "--config", config, "app:app"),
        PEERS / "ours-api",
        port,
        asks(GUARDED, folder),
        {
            STATE_DIR_VARIABLE: str(folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "RESOURCE_SERVER_BIND": f"127.0.0.1:{port}",
            "RESOURCE_SERVER_ISSUER": issuer.url,
            "RESOURCE_SERVER_RESOURCE": AUDIENCE,
            "RESOURCE_SERVER_TRANSPORT": "plain-http",
            "RESOURCE_SERVER_WORKERS": "1",
        },
        versions=python_versions(python, "Flask", "joserfc", "cryptography", "gunicorn"),
    )


def _spring(issuer: TrustedIssuer, asks: Asks, folder: Path) -> Launch:
    command, versions = spring_program()
    port = free_port()
    environment = {
        "PORT": str(port),
        "SPRING_PROFILES_ACTIVE": "api",
        "BENCH_ISSUER": issuer.url,
        "BENCH_AUDIENCE": AUDIENCE,
    }
    asked = asks(GUARDED, folder)
    return Launch(command, folder, port, asked, environment, versions=versions, start_seconds=120)


def _node(guarded: Mapping[str, str], issuer: TrustedIssuer, asks: Asks, folder: Path) -> Launch:
    modules, port = node_modules("node-api"), free_port()
    environment = {
        "NODE_ENV": "production",
        "PORT": str(port),
        "ISSUER": issuer.url,
        "AUDIENCE": AUDIENCE,
    }
    versions = npm_versions(modules, "express", "jose", "express-oauth2-jwt-bearer")
    asked = asks(guarded, folder)
    return Launch(("node", "server.js"), modules, port, asked, environment, versions=versions)


def _authlib(issuer: TrustedIssuer, asks: Asks, folder: Path) -> Launch:
    port = free_port()
    return Launch(
        gunicorn(port),
        PEERS / "bare-authlib",
        port,
        asks(GUARDED, folder),
        {
            "ALGORITHM": "RS256",
            "ROW_FOR_EACH_TOKEN": "",
            "DATABASE": str(folder / "authlib.db"),
            "ISSUER": issuer.url,
            "AUDIENCE": AUDIENCE,
            "TRUSTED_KEYS": json.dumps(issuer.jwks),
            "BENCH_SECRET": bench_secret(),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        versions=python_versions(bench_python(), "Authlib", "joserfc", "Flask", "gunicorn"),
    )
