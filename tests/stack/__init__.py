"""The running system as the tests see it, wherever it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any, Protocol

import requests

from demo.event_log import ArrowEvent, arrows_passed
from shared.arrows import Arrow


@dataclass(frozen=True)
class Run:
    """One run of the client's job: its own report, and the arrow events of its trace."""

    report: Mapping[str, Any]
    events: Sequence[ArrowEvent]

    @property
    def arrows(self) -> list[Arrow]:
        """The arrows that passed, each once, in the order of their first time."""
        return arrows_passed(self.events)

    @property
    def refusals(self) -> list[tuple[int | None, str | None]]:
        """Status and error code of each refusal."""
        return [(event.status, event.error) for event in self.events if event.outcome == "refused"]

    @property
    def error(self) -> str | None:
        """What the run failed with, as `401 invalid_client`; None where it succeeded."""
        error = self.report["error"]
        return None if error is None else str(error)


@dataclass(frozen=True)
class RegisteredClient:
    """A client that the authorization server knows, with its secret."""

    client_id: str
    client_secret: str


def start_run(stack: "Stack", seconds: float = 15) -> requests.Response:
    """Ask the running client service for a run; return what it answers within ``seconds``."""
    form = {"control_token": stack.control_token}
    return requests.post(f"{stack.client_url}/runs", form, timeout=seconds)


class Stack(Protocol):
    """What a stack offers to the flow and conformance tests: local processes or containers."""

    @property
    def auth_url(self) -> str:
        """Base URL of the authorization server, which is the issuer too."""
        ...

    @property
    def auth_url_for_services(self) -> str:
        """Base URL at which the other services reach the authorization server."""
        ...

    @property
    def bank_url(self) -> str:
        """Base URL of the bank, which is its resource identifier too."""
        ...

    @property
    def client_url(self) -> str:
        """Base URL of the client service."""
        ...

    @property
    def control_token(self) -> str:
        """What `POST /runs` of the client service asks for."""
        ...

    def run_once(self, **settings: str) -> Run:
        """Run the client's job once, in a process of its own, with these settings changed."""
        ...

    def cli(self, service: str, *arguments: str, given: str | None = None) -> CompletedProcess[str]:
        """Run `flask --app SERVICE.app ARGUMENTS` where the service runs.

        ``given`` is what it reads on standard input.
        """
        ...

    def put_into_vault(self, entry: str, fields: Mapping[str, str]) -> None:
        """Write an entry that the client service can read."""
        ...

    def read_from_vault(self, entry: str) -> Mapping[str, str]:
        """Return the fields of an entry."""
        ...

    def logs(self) -> str:
        """Return everything that the services have logged so far."""
        ...
