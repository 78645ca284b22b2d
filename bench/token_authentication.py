"""What a token costs by how its client authenticates: `python -m bench.token_authentication`.

The authorization server is asked through its WSGI interface, in this process, for tokens signed by
ES256: by a client that is kept in memory; by one that is read each time; by another client each
time, so that each use is one to note; and by clients that sign assertions. A round asks each case
the same number of times. Shown are microseconds: of CPU, the least and the median over the
requests; and the median of the time that passed, with the disk in it, as an assertion has to be on
it before there is a token. What a thread does later, which is to note uses, is in none of them.
The database is SQLite, in the temporary folder.
"""

import argparse
import io
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import count, repeat
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode
from wsgiref.util import setup_testing_defaults

from cryptography.fernet import Fernet
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from pydantic import SecretStr
from sqlalchemy import insert

from auth_server.app import MIGRATIONS, create_app
from auth_server.client_jwks import inline_jwks
from auth_server.models import Client, ClientScope, ClientSecret
from auth_server.registry import Registry, new_secret, secret_hash
from auth_server.settings import AuthServerSettings, SigningAlgorithm
from bench.token_stages import RESOURCE, logs_thrown_away
from shared.database import migrate
from shared.gunicorn_worker import keep_what_is_loaded
from shared.identifiers import TOKEN_PATH
from shared.settings import STATE_DIR_VARIABLE

ROUNDS = 60
REQUESTS_A_ROUND = 20
MANY = (ROUNDS + 1) * REQUESTS_A_ROUND
TOKENS_BY: SigningAlgorithm = "ES256"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SECRET_METHOD, KEY_METHOD = "client_secret_post", "private_key_jwt"

Forms = Iterator[dict[str, str]]
"""What the requests of a case send besides the grant, made when it is wanted."""


def main() -> None:
    """Measure, and print a line for each case."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder, logs_thrown_away():
        os.environ[STATE_DIR_VARIABLE] = folder
        key = Fernet.generate_key().decode()
        keeping, reading = (_server(Path(folder), key, seconds) for seconds in (300, 0))
        parts = keeping.extensions["auth_server"]
        migrate(parts.database, MIGRATIONS)
        parts.registry.resources.add(RESOURCE, ["Read", "Write"], is_default=True)
        cases = dict(_cases(keeping, reading, parts.registry))
        keep_what_is_loaded()  # as a worker does
        costs: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for _ in range(1 + ROUNDS):
            for name, (app, forms) in cases.items():
                costs[name] += [_asked(app, next(forms)) for _ in range(REQUESTS_A_ROUND)]
        for app in (keeping, reading):
            server = app.extensions["auth_server"]
            server.registry.last_use.write()  # else it tries when the folder is gone
            server.database.engine.dispose()
    print(f"{'':32} {'least':>8} {'median':>8}   µs of CPU {'median':>8}   µs passed")
    for name, spent in costs.items():
        cpu, passed = zip(*spent[REQUESTS_A_ROUND:], strict=True)
        print(f"{name:32} {min(cpu):8.0f} {median(cpu):8.0f} {median(passed):20.0f}")


def _server(folder: Path, key: str, client_cache_seconds: int) -> Flask:
    settings = AuthServerSettings(
        database_url=f"sqlite:///{folder / 'auth_server.db'}",
        key_encryption_key=SecretStr(key),
        access_token_algorithm=TOKENS_BY,
        transport="plain-http",
        client_cache_seconds=client_cache_seconds,
    )
    return create_app(settings)


def _cases(
    keeping: Flask, reading: Flask, registry: Registry
) -> Iterator[tuple[str, tuple[Flask, Forms]]]:
    made = registry.clients.add("one", authentication_method=SECRET_METHOD, may_have_id_token=False)
    one = {"client_id": "one", "client_secret": made.secret}
    yield "a secret, the client in memory", (keeping, repeat(one))
    yield "a secret, the client read", (reading, repeat(one))
    yield "a secret, another client each", (keeping, _many(registry))
    issuer = keeping.extensions["auth_server"].settings.issuer
    keys: dict[str, RSAKey | ECKey] = {
        "ES256": ECKey.generate_key("P-256"),
        "RS256": RSAKey.generate_key(2048),
    }
    for algorithm, key in keys.items():
        name = f"signer-{algorithm}"
        members = {**key.as_dict(private=False), "alg": algorithm, "use": "sig", "kid": "one"}
        registry.clients.add_with_keys(
            name,
            inline_jwks({"keys": [members]}),
            authentication_method=KEY_METHOD,
            may_have_id_token=False,
        )
        yield f"an assertion by {algorithm}", (keeping, _assertions(name, issuer, key, algorithm))


def _many(registry: Registry) -> Forms:
    """Register many clients of one secret, and ask as each of them once."""
    secret = new_secret()
    names = [f"client-{number}" for number in range(MANY)]
    with registry.database.writing() as session:
        session.execute(
            insert(Client),
            [
                {
                    "client_id": name,
                    "authentication_method": SECRET_METHOD,
                    "may_have_id_token": False,
                    "default_resource": RESOURCE,
                    "created_at": 0,
                }
                for name in names
            ],
        )
        session.execute(
            insert(ClientScope),
            [{"client_id": name, "resource": RESOURCE, "scope": "Read"} for name in names],
        )
        digest = secret_hash(secret)
        session.execute(
            insert(ClientSecret),
            [
                {"secret_id": name, "client_id": name, "secret_hash": digest, "created_at": 0}
                for name in names
            ],
        )
    return ({"client_id": name, "client_secret": secret} for name in names)


def _assertions(name: str, issuer: str, key: RSAKey | ECKey, algorithm: str) -> Forms:
    header = {"alg": algorithm, "kid": "one", "typ": "client-authentication+jwt"}
    for _ in count():
        claims = {"iss": name, "sub": name, "aud": issuer, "exp": int(time.time()) + 60}
        own = {**claims, "jti": uuid.uuid4().hex}
        assertion = jwt.encode(header, own, key, algorithms=[algorithm])
        yield {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


def _asked(app: Flask, form: dict[str, str]) -> tuple[float, float]:
    """Return the CPU and the time that a token took, with what is done after its answer."""
    environ = _request({"grant_type": "client_credentials", "scope": "Read", **form})
    statuses: list[str] = []

    def start_response(status: str, _headers: object, _error: object = None) -> Callable[..., Any]:
        statuses.append(status)
        return statuses.append

    cpu, passed = time.thread_time(), time.perf_counter()
    answer = app(environ, start_response)
    body = b"".join(answer)
    answer.close()  # type: ignore[attr-defined]  # Werkzeug's has it
    cost = time.thread_time() - cpu, time.perf_counter() - passed
    assert statuses == ["200 OK"], (statuses, json.loads(body))
    return cost[0] * 1e6, cost[1] * 1e6


def _request(form: dict[str, str]) -> dict[str, Any]:
    body = urlencode(form).encode()
    environ: dict[str, Any] = {"HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1"}
    setup_testing_defaults(environ)
    return environ | {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": TOKEN_PATH,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }


if __name__ == "__main__":
    main()
