"""What one token costs, stage by stage: `python -m bench.token_stages`, microseconds of CPU.

The authorization server is asked for tokens through its WSGI interface, in this process and with
all that a request passes: tracing, audit, metrics. Its log lines are formatted and thrown away. A
clock stands around each stage; what none of them covers is the answer's: Flask and Authlib,
headers, JSON, log and audit. The client is kept in memory, as of one that asks more than once in
five seconds. A CPU that others use too makes all of it dearer.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from auth_server import token_endpoint
from auth_server.app import MIGRATIONS, create_app
from auth_server.client_authentication import ClientAuthentication
from auth_server.settings import AuthServerSettings, SigningAlgorithm
from auth_server.signing_keys import SigningKeys
from shared import arrows
from shared.database import migrate
from shared.identifiers import TOKEN_PATH
from shared.service_logging import RedactingJsonFormatter
from shared.settings import STATE_DIR_VARIABLE

REQUESTS = 500
ALGORITHMS: tuple[SigningAlgorithm, ...] = ("RS256", "ES256")
STAGES: dict[str, tuple[object, str]] = {
    "parse": (token_endpoint, "token_form"),
    "authenticate": (ClientAuthentication, "authenticate"),
    "decide": (token_endpoint, "grant"),
    "sign": (SigningKeys, "sign"),
}
RESPOND = "respond"
RESOURCE = "http://localhost:9001"

Spent = defaultdict[str, float]
"""The seconds that each stage took."""


def main() -> None:
    """Measure each algorithm, and print a line for each stage."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    costs = {algorithm: measured(algorithm) for algorithm in ALGORITHMS}
    print(f"{'':14}" + "".join(f"{algorithm:>10}" for algorithm in ALGORITHMS) + "   µs of CPU")
    for stage in [*STAGES, RESPOND, "whole"]:
        print(f"{stage:14}" + "".join(f"{costs[one][stage]:10.1f}" for one in ALGORITHMS))


def measured(algorithm: SigningAlgorithm) -> dict[str, float]:
    """Return the median cost of each stage of a token of ``algorithm``."""
    with tempfile.TemporaryDirectory() as folder, logs_thrown_away():
        os.environ[STATE_DIR_VARIABLE] = folder
        app, form = server_with_a_client(Path(folder), algorithm)
        with ExitStack() as patches:
            spent: Spent = defaultdict(float)
            for stage, (holder, name) in STAGES.items():
                patches.enter_context(_a_clock_around(holder, name, stage, spent))
            requests = [_one(app.test_client(), form, spent) for _ in range(2 * REQUESTS)]
        app.extensions["auth_server"].database.engine.dispose()
    return {stage: median(one[stage] for one in requests[REQUESTS:]) for stage in requests[0]}


def _one(http: FlaskClient, form: dict[str, str], spent: Spent) -> dict[str, float]:
    spent.clear()
    began = time.thread_time()
    answer = http.post(TOKEN_PATH, data=form)
    whole = time.thread_time() - began
    if answer.status_code != 200:
        sys.exit(f"a request was answered {answer.status_code}")
    rest = whole - sum(spent.values())
    costs = {**{stage: spent[stage] for stage in STAGES}, RESPOND: rest, "whole": whole}
    return {stage: seconds * 1e6 for stage, seconds in costs.items()}


@contextmanager
def _a_clock_around(holder: object, name: str, stage: str, spent: Spent) -> Iterator[None]:
    timed: Callable[..., Any] = getattr(holder, name)

    def around(*arguments: Any, **options: Any) -> Any:
        began = time.thread_time()
        try:
            return timed(*arguments, **options)
        finally:
            spent[stage] += time.thread_time() - began

    with mock.patch.object(holder, name, around):
        yield


def server_with_a_client(
    folder: Path, algorithm: SigningAlgorithm, now: Callable[[], float] = time.time
) -> tuple[Flask, dict[str, str]]:
    """Return an authorization server, and the form with which its one client gets a token."""
    settings = AuthServerSettings(
        database_url=f"sqlite:///{folder / 'auth_server.db'}",
        key_encryption_key=SecretStr(Fernet.generate_key().decode()),
        access_token_algorithm=algorithm,
        transport="plain-http",
        client_cache_seconds=300,
    )
    folder.mkdir(exist_ok=True)
    app = create_app(settings, now)
    parts = app.extensions["auth_server"]
    migrate(parts.database, MIGRATIONS)
    parts.registry.resources.add(RESOURCE, ["Read", "Write"], is_default=True)
    made = parts.registry.clients.add(
        "measured", authentication_method="client_secret_post", may_have_id_token=False
    )
    form = {"grant_type": "client_credentials", "scope": "Read", "client_id": made.client_id}
    return app, {**form, "client_secret": made.secret}


@contextmanager
def logs_thrown_away() -> Iterator[None]:
    """Format the log lines that a service writes by default, and keep none."""
    with Path(os.devnull).open("w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(RedactingJsonFormatter("auth_server"))
        root, passed = logging.getLogger(), logging.getLogger(arrows.__name__)
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        passed.setLevel(logging.WARNING)  # as a service has it by default
        try:
            yield
        finally:
            root.removeHandler(handler)


if __name__ == "__main__":
    main()
