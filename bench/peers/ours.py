"""Ours: the authorization server as it ships, under gunicorn with one worker, on SQLite."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cryptography.fernet import Fernet

from bench.launch import Launch, Peer, token_ask
from bench.programs import ROOT, bench_python, free_port, python_versions, run
from shared.identifiers import JWKS_PATH, TOKEN_PATH
from shared.settings import STATE_DIR_VARIABLE

API = "http://localhost:9001"
SCOPES = ("--scope", "Read", "--scope", "Write")
PACKAGES = ("Flask", "Authlib", "joserfc", "SQLAlchemy", "gunicorn")


@dataclass(frozen=True)
class OurServer:
    """An authorization server of our own: its folder, its Python, and what it is told."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    python: str = field(default_factory=bench_python)

    @property
    def issuer(self) -> str:
        """The issuer identifier."""
        return f"http://localhost:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What its processes find in their environment."""
        return {
            STATE_DIR_VARIABLE: str(self.folder),
            "FLASK_SKIP_DOTENV": "1",
            "PYTHONDONTWRITEBYTECODE": "",  # compiled once, as in the images
            "AUTH_SERVER_BIND": f"127.0.0.1:{self.port}",
            "AUTH_SERVER_DATABASE_URL": f"sqlite:///{self.folder / 'auth_server.db'}",
            "AUTH_SERVER_ISSUER": self.issuer,
            "AUTH_SERVER_TRANSPORT": "plain-http",
            "AUTH_SERVER_WORKERS": "1",
            **self.settings,
        }

    def set_up(self) -> None:
        """Make the key that encrypts its keys, its tables and the API."""
        self.keep_secret("auth_server_key_encryption_key", Fernet.generate_key().decode())
        self.flask("migrate")
        self.flask("resources", "add", API, *SCOPES, "--default")

    def keep_secret(self, name: str, secret: str) -> None:
        """Put ``secret`` where its settings look for the secret ``name``."""
        file = self.folder / "secrets" / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secret)

    def add_client(self, name: str, *options: str) -> str:
        """Register a client, and return its secret."""
        made = self.flask("clients", "add", name, *SCOPES, *options, "--json")
        return str(json.loads(made).get("client_secret", ""))

    def flask(self, *arguments: str) -> str:
        """Return what one of its commands printed."""
        command = [self.python, "-m", "flask", "--app", "auth_server.app", *arguments]
        return run(command, ROOT, self.environment)

    def launch(self, *names_and_secrets: tuple[str, str, str]) -> Launch:
        """Return how it is started; each ask is an algorithm, a client and its secret."""
        config = "auth_server/gunicorn.conf.py"
        return Launch(
            (self.python, "-m", "gunicorn", "--config", config, "auth_server.wsgi:app"),
            ROOT,
            self.port,
            tuple(token_ask(name, TOKEN_PATH, *client) for name, *client in names_and_secrets),
            self.environment,
            JWKS_PATH,
            python_versions(self.python, *PACKAGES),
            audience=API,
        )


def _prepare(algorithm: str, folder: Path) -> Launch:
    server = OurServer(folder, {"AUTH_SERVER_ACCESS_TOKEN_ALGORITHM": algorithm})
    server.set_up()
    return server.launch((algorithm, "bench", server.add_client("bench")))


OURS = tuple(Peer("ours", partial(_prepare, algorithm)) for algorithm in ("RS256", "ES256"))
"""The algorithm is a setting of the server, so there is one for each."""
