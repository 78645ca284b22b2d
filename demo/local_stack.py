"""The system as local processes: SQLite, a vault directory, three gunicorns on loopback."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from cryptography.fernet import Fernet

from demo.container_secrets import CONTROL_TOKEN, KEY_ENCRYPTION_KEY, new_secret
from demo.event_log import ArrowEvent, arrow_events
from demo.processes import ROOT, DemoError, Service, become, last_line, write_whole
from demo.remembered import remember
from deploy.provisioning import ProvisioningError, register, replace_credentials
from shared.identifiers import DEMO_CLIENT
from shared.settings import STACK_SETTINGS_FILE, STATE_DIR_VARIABLE
from shared.tracing import EXPORT_VARIABLES
from shared.vault import DirectoryVault, EntryNotFoundError

COMMAND_SECONDS = 120


@dataclass(frozen=True)
class Ports:
    """The three ports; the issuer and the audience follow from them."""

    auth_server: int = 9000
    resource_server: int = 9001
    client_service: int = 9002


@dataclass(frozen=True)
class Run:
    """One reconciliation, as the client told it, and the arrow events of its trace."""

    report: dict[str, Any]
    events: Sequence[ArrowEvent]

    @property
    def succeeded(self) -> bool:
        """Whether the client's job did its work."""
        return bool(self.report.get("status") == "succeeded")


@dataclass(frozen=True)
class LocalStack:
    """The three services on this machine; everything they keep lies in ``state``."""

    state: Path
    ports: Ports = field(default_factory=Ports)
    more_settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def auth_server(self) -> Service:
        """The authorization server's process."""
        return Service("auth_server", self.ports.auth_server, self.state)

    @property
    def resource_server(self) -> Service:
        """The bank's process."""
        return Service("resource_server", self.ports.resource_server, self.state)

    @property
    def client_service(self) -> Service:
        """The client's process."""
        return Service("client_service", self.ports.client_service, self.state)

    @property
    def services(self) -> tuple[Service, Service, Service]:
        """All three, the one that others wait for first."""
        return self.auth_server, self.resource_server, self.client_service

    def up(self) -> None:
        """Start what does not run and return when all of it can work. Safe to call again."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings_file, settings = self.state / STACK_SETTINGS_FILE, self._settings_text()
        is_same = settings_file.exists() and settings_file.read_text() == settings
        idle = [service for service in self.services if not (is_same and service.is_well())]
        with ThreadPoolExecutor() as pool:
            list(pool.map(Service.stop, idle))
        for service in idle:
            service.require_free_port()
        remember(self.state, "local", asdict(self.ports))
        write_whole(settings_file, settings)
        self._make_secrets()
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._prepare, idle))
        self._replace_lost_credentials()
        for service in idle:  # one after the other: the bank fetches the issuer's keys at once
            service.start(self.environment(service.name))
            service.wait_until_ready()

    def down(self) -> list[Service]:
        """Stop the services; return those that ran."""
        with ThreadPoolExecutor() as pool:
            stopped = list(pool.map(Service.stop, self.services))
        return [service for service, ran in zip(self.services, stopped, strict=True) if ran]

    def delete(self) -> None:
        """Stop the services and delete all that they kept."""
        self.down()
        shutil.rmtree(self.state, ignore_errors=True)

    def run_once(self, settings: Mapping[str, str] | None = None) -> Run:
        """Let the client reconcile once, in a process of its own, and collect what happened.

        ``settings`` are changed for this run alone.
        """
        starts = {file: _size(file) for file in self._log_files()}
        result = self.flask("client_service", "run-once", "--json", settings=settings)
        self._run_log().parent.mkdir(parents=True, exist_ok=True)
        with self._run_log().open("a") as log:
            log.write(result.stderr)
        try:
            report = json.loads(result.stdout)
        except ValueError:
            raise DemoError(last_line(result) or "the client said nothing") from None
        texts = [_text_from(file, starts.get(file, 0)) for file in self._log_files()]
        return Run(report, arrow_events(texts, report["trace_id"]))

    def logs(self) -> list[str]:
        """Return the text of every log file."""
        return [_text_from(file, 0) for file in self._log_files()]

    def flask(
        self,
        service: str,
        *arguments: str,
        settings: Mapping[str, str] | None = None,
        given: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of a service: `flask --app SERVICE.app ARGUMENTS`.

        ``given`` is what it reads on standard input.
        """
        return subprocess.run(
            [*_flask_command(service), *arguments],
            cwd=ROOT,
            env=self.environment(service) | dict(settings or {}),
            input=given or "",
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def become_flask(self, service: str, *arguments: str) -> NoReturn:
        """Turn this process into a command of a service."""
        become([*_flask_command(service), *arguments], self.environment(service))

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment of a process of ``service``; it holds no secret.

        Authorization server and bank report their arrow events to the client's receiver, so that
        its runs can tell all five; what the client records itself, it keeps itself. Where whoever
        starts the stack names a receiver, all three report to that one.
        """
        environment = os.environ | {
            STATE_DIR_VARIABLE: str(self.state),
            "FLASK_SKIP_DOTENV": "1",  # our settings read `.env` themselves
        }
        named = any(os.environ.get(variable) for variable in EXPORT_VARIABLES)
        if service != self.client_service.name and not named:
            receiver = f"{self.client_service.url}/v1/traces"
            environment["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = receiver
            environment["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"] = "2"  # seconds, also of a stop
            environment["OTEL_BSP_SCHEDULE_DELAY"] = "200"  # milliseconds
        return environment | dict(self.more_settings)

    def settings(self) -> dict[str, str]:
        """Return the settings that differ from a service's defaults, by name."""
        bank = self.resource_server.url
        settings = {
            "AUTH_SERVER_ISSUER": self.auth_server.url,
            "RESOURCE_SERVER_ISSUER": self.auth_server.url,
            "RESOURCE_SERVER_RESOURCE": bank,
            "CLIENT_SERVICE_ISSUER": self.auth_server.url,
            "CLIENT_SERVICE_API_URL": bank,
            "CLIENT_SERVICE_RECEIVE_TRACES": "true",
        }
        for service in self.services:
            settings[f"{service.name}_bind".upper()] = f"127.0.0.1:{service.port}"
            settings[f"{service.name}_transport".upper()] = "plain-http"
            settings[f"{service.name}_log_requests".upper()] = "arrows"
        return settings

    def _make_secrets(self) -> None:
        """Make, once, what private keys are encrypted with, and what starts a run over HTTP."""
        folder = self.state / "secrets"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = {KEY_ENCRYPTION_KEY: Fernet.generate_key().decode(), CONTROL_TOKEN: new_secret()}
        for name, secret in made.items():
            if not (folder / name).exists():
                write_whole(folder / name, secret + "\n")

    def _settings_text(self) -> str:
        """Return the settings file that every process of the stack reads."""
        lines = ["# Written by `make up`: the settings of the local stack."]
        lines += [f"{name}={value}" for name, value in sorted(self.settings().items())]
        return "\n".join(lines) + "\n"

    def _prepare(self, service: Service) -> None:
        """Do what has to be done before ``service`` can start; all of it is safe to do again."""
        self._do(service.name, "migrate")
        if service == self.resource_server:
            self._do(service.name, "ledger", "seed-demo")
        if service == self.auth_server:
            commands = partial(self.flask, service.name)
            self._provision(partial(register, commands, self.resource_server.url))

    def _provision(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ProvisioningError as error:
            raise DemoError(str(error)) from error

    def _replace_lost_credentials(self) -> None:
        try:
            DirectoryVault(self.state / "vault").read(DEMO_CLIENT)
        except EntryNotFoundError:
            self._provision(partial(replace_credentials, partial(self.flask, "auth_server")))

    def _do(self, service: str, *arguments: str) -> str:
        result = self.flask(service, *arguments)
        if result.returncode != 0:
            raise DemoError(f"{service} {' '.join(arguments[:2])}: {last_line(result)}")
        return result.stdout

    def _run_log(self) -> Path:
        return self.state / "logs" / "run-once.log"

    def _log_files(self) -> list[Path]:
        return [*(service.log_file for service in self.services), self._run_log()]


def _flask_command(service: str) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", f"{service}.app"]


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _text_from(file: Path, start: int) -> str:
    if not file.exists():
        return ""
    with file.open("rb") as stream:
        stream.seek(start)
        return stream.read().decode("utf-8", "replace")
