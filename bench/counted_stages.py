"""The stages of a token and of a token check, each done a few times between two marks.

Run by `bench.instructions` under valgrind, which counts the instructions from one mark to the next.
A mark is a call of `lcong48`, a function of the C library that nothing else here calls.
"""

import ctypes
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Request

from auth_server import access_token
from auth_server.scope_policy import Granted, grant
from auth_server.settings import SigningAlgorithm
from auth_server.token_form import FORM_TYPE, token_form
from bench.token_stages import ALGORITHMS, RESOURCE, logs_thrown_away, server_with_a_client
from resource_server.issuer_keys import IssuerKey, base64url_decoded, keys_of
from resource_server.token_validation import TokenValidator
from shared.identifiers import TOKEN_PATH
from shared.settings import STATE_DIR_VARIABLE

TIMES = 20
"""How often a stage is done between two marks."""
WARM_UP = 3
NOW = 1_800_000_000.0
"""The time of all stages: else what is due at some second would be counted in one of them."""

Stage = Callable[[], object]


def main() -> None:
    """Do every stage, and write their names in the order of the marks, one a line."""
    mark = _mark()
    with tempfile.TemporaryDirectory() as folder, logs_thrown_away():
        os.environ[STATE_DIR_VARIABLE] = folder
        stages = dict(_all_stages(Path(folder)))
        for do in stages.values():
            for _ in range(WARM_UP):
                do()
        for name, do in stages.items():
            sys.stdout.write(f"{name}\n")
            mark()
            for _ in range(TIMES):
                do()
            mark()


def _all_stages(folder: Path) -> Iterator[tuple[str, Stage]]:
    for algorithm in ALGORITHMS:
        app, form = server_with_a_client(folder / algorithm, algorithm, lambda: NOW)
        for name, do in _token_stages(app, form, algorithm):
            yield f"token {algorithm} {name}", do
        for name, do in _check_stages(app, form):
            yield f"check {algorithm} {name}", do


def _check_stages(app: Flask, parameters: dict[str, str]) -> Iterator[tuple[str, Stage]]:
    """Return what the bank does with a token: the whole of it, its costly part, and once more."""
    body, parts = urlencode(parameters).encode(), app.extensions["auth_server"]
    answers = [json.loads(_answer(app, _environ(body))) for _ in range(1 + WARM_UP + TIMES)]
    seen, *new = (str(answer["access_token"]) for answer in answers)
    keys = keys_of({"keys": parts.keys.published()})
    validator = TokenValidator(parts.settings.issuer, RESOURCE, _Keys(keys), now=lambda: NOW)
    validator.validate(seen)
    signing_input, _, signature = seen.rpartition(".")
    (key,) = (keys[kid] for kid in keys if kid in _header(seen))
    signed = signing_input.encode(), base64url_decoded(signature)
    unseen = iter(new)
    yield "signature", lambda: key.verifies(*signed)
    yield "whole", lambda: validator.validate(next(unseen))
    yield "seen before", lambda: validator.validate(seen)


@dataclass(frozen=True)
class _Keys:
    """Keys that are there: how they are fetched is no part of a check."""

    keys: Mapping[str, IssuerKey]

    def key(self, kid: str) -> IssuerKey:
        return self.keys[kid]


def _header(token: str) -> str:
    return base64url_decoded(token.partition(".")[0]).decode()


def _token_stages(
    app: Flask, parameters: dict[str, str], algorithm: SigningAlgorithm
) -> Iterator[tuple[str, Stage]]:
    """Return each stage of a token request, and the whole of it."""
    body = urlencode(parameters).encode()
    parts = app.extensions["auth_server"]
    app.request_context(_environ(body)).push()  # stays open: a part of some stages
    form = token_form(Request(_environ(body)))
    client = parts.authentication.authenticate(form).client
    claims = access_token.access_token_claims(
        issuer=parts.settings.issuer,
        client_id=client.client_id,
        granted=Granted(RESOURCE, ("Read",), openid=False),
        issued_at=int(NOW),
        lifetime_seconds=300,
    )
    yield "parse", lambda: token_form(Request(_environ(body)))
    yield "authenticate", lambda: parts.authentication.authenticate(form)
    yield "decide", lambda: grant(client.rights, form.parameters["scope"], (), id_tokens=True)
    yield "sign", lambda: parts.keys.sign(algorithm, access_token.TYPE, claims)
    yield "whole", lambda: _answer(app, _environ(body))


def _answer(app: Flask, environ: dict[str, Any]) -> bytes:
    statuses: list[str] = []
    answer = app(environ, lambda status, *_: statuses.append(status))  # type: ignore[arg-type]
    body = b"".join(answer)
    answer.close()  # type: ignore[attr-defined]
    if statuses != ["200 OK"]:
        sys.exit(f"a request was answered {statuses}")
    return body


def _environ(body: bytes) -> dict[str, Any]:
    """Return what a WSGI server hands over for a token request."""
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": TOKEN_PATH,
        "QUERY_STRING": "",
        "CONTENT_TYPE": FORM_TYPE,
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": "localhost:9000",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "9000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }


def _mark() -> Callable[[], object]:
    function = ctypes.CDLL(None).lcong48
    state = (ctypes.c_ushort * 7)()
    return lambda: function(state)


if __name__ == "__main__":
    main()
