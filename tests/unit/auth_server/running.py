"""A running authorization server, as the tests of this folder ask it."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlencode

from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from auth_server.app import AuthServer
from auth_server.settings import AuthServerSettings

BANK = "http://localhost:9001"
LEDGER = "https://ledger.example"
KEY_ENCRYPTION_KEY = Fernet.generate_key().decode()
START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


@dataclass
class Running:
    """An authorization server and a registered client of it."""

    app: Flask
    clock: Clock
    secret: str

    @property
    def parts(self) -> AuthServer:
        parts = self.app.extensions["auth_server"]
        assert isinstance(parts, AuthServer)
        return parts

    @property
    def http(self) -> FlaskClient:
        return self.app.test_client()

    def basic(self, client_id: str = "worker", secret: str | None = None) -> str:
        pair = f"{client_id}:{self.secret if secret is None else secret}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def ask(self, *more: tuple[str, str], authorization: str | None = None) -> TestResponse:
        """Ask for a token as the registered client, with more parameters."""
        return self.post(
            urlencode([("grant_type", "client_credentials"), *more]),
            authorization=authorization or self.basic(),
        )

    def post(
        self,
        body: str | bytes,
        *,
        authorization: str | None = None,
        path: str = "/oidc/token",
        content_type: str = "application/x-www-form-urlencoded",
    ) -> TestResponse:
        headers = {"Authorization": authorization} if authorization is not None else {}
        return self.http.post(path, data=body, headers=headers, content_type=content_type)

    def command(self, *arguments: str, given: bytes | None = None) -> Any:
        with mock.patch("auth_server.cli.group.configure_logging"):
            return self.app.test_cli_runner().invoke(args=arguments, input=given)


def settings_for(path: Path, **settings: object) -> AuthServerSettings:
    values = {
        "database_url": f"sqlite:///{path}",
        "key_encryption_key": SecretStr(KEY_ENCRYPTION_KEY),
        "transport": "plain-http",
    }
    return AuthServerSettings(**{**values, **settings})  # type: ignore[arg-type]


def object_of(server: Running, *arguments: str, given: bytes | None = None) -> Any:
    result = server.command(*arguments, "--json", given=given)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def error_of(server: Running, *arguments: str) -> tuple[int, str]:
    result = server.command(*arguments)
    return result.exit_code, result.stderr.strip().splitlines()[-1]
