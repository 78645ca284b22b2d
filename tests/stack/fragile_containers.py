"""A stack of containers that tests break, and mend again: what can befall it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import docker
import requests
from docker.models.containers import Container
from docker.models.networks import Network

from tests.stack import start_run
from tests.stack.container_stack import ContainerStack

PROJECT = "com.docker.compose.project"
LONGEST_ANSWER_SECONDS = 30
HEALED_WITHIN_SECONDS = 60
POLL_SECONDS = 0.2

Thing = TypeVar("Thing")


def awaited(give: Callable[[], Thing | None]) -> Thing:
    """Return what it gives once that is something; an assertion fails past the deadline."""
    began = time.monotonic()
    while (thing := give()) is None:
        assert time.monotonic() - began < HEALED_WITHIN_SECONDS
        time.sleep(POLL_SECONDS)
    return thing


def seconds_until(happens: Callable[[], bool]) -> float:
    """Return how long it took until it happened; an assertion fails past the deadline."""
    began = time.monotonic()
    awaited(lambda: happens() or None)
    return time.monotonic() - began


@dataclass(frozen=True)
class FragileContainers:
    """The stack, and the engine that runs it; what each method breaks is whole after its block."""

    stack: ContainerStack
    engine: docker.DockerClient

    def container(self, service: str) -> Container:
        """Return the container of a service, as it is now."""
        labels = [f"com.docker.compose.service={service}", f"{PROJECT}={self.stack.demo.project}"]
        (container,) = self.engine.containers.list(all=True, filters={"label": labels})
        return container

    def starts(self, *services: str) -> list[tuple[str, str]]:
        """Return which containers the services have, and when each was started."""
        containers = [self.container(service) for service in services]
        return [(container.id, container.attrs["State"]["StartedAt"]) for container in containers]

    @contextmanager
    def paused(self, service: str) -> Iterator[None]:
        """Freeze a service: it takes connections and answers none."""
        self.container(service).pause()
        try:
            yield
        finally:
            self.container(service).unpause()

    @contextmanager
    def killed(self, service: str) -> Iterator[None]:
        """End a service with no time to finish anything."""
        self.container(service).kill()
        try:
            yield
        finally:
            self.container(service).start()

    @contextmanager
    def stopped(self, service: str) -> Iterator[None]:
        """Let a service end as it does for `docker stop`."""
        self.container(service).stop()
        try:
            yield
        finally:
            self.container(service).start()

    @contextmanager
    def cut_off(self, service: str) -> Iterator[None]:
        """Take a service off all its networks; it runs on."""
        container = self.container(service)
        networks = [(network, self._aliases(network, container)) for network in self._networks()]
        connected = [(network, aliases) for network, aliases in networks if aliases]
        for network, _ in connected:
            network.disconnect(container)
        try:
            yield
        finally:
            for network, aliases in connected:
                network.connect(container, aliases=aliases)

    @contextmanager
    def sealed_vault(self) -> Iterator[None]:
        """Seal the vault: it answers, and hands out nothing. Its key stands in its log."""
        said = self.stack.demo.compose.logs("openbao")
        key = said.rpartition("Unseal Key: ")[2].split()[0]
        self.stack.ask_vault(("PUT", "sys/seal", None))
        try:
            yield
        finally:
            self.stack.ask_vault(("PUT", "sys/unseal", {"key": key}))

    def run(self) -> dict[str, Any]:
        """Let the running client service do a run, once none is under way; return how it went."""
        run_id = awaited(self._begun_run)
        return awaited(lambda: self._ended_run(run_id))

    def succeeds(self) -> bool:
        """Tell whether a run succeeds now."""
        return str(self.run()["status"]) == "succeeded"

    def failing_run(self) -> dict[str, Any]:
        """Let run after run be done until one fails; return that one."""
        return awaited(lambda: run if (run := self.run())["status"] == "failed" else None)

    def succeeds_with_a_new_token(self) -> Callable[[], bool]:
        """Return what tells whether a run succeeds, and the client got a token since this call."""
        before = self._tokens_issued()
        return lambda: self.succeeds() and self._tokens_issued() > before

    def client_is_ready(self) -> bool:
        """Tell whether the client service can work without anything that it remembers."""
        return self._ask_client("/readyz").status_code == 200

    def _begun_run(self) -> str | None:
        answer = start_run(self.stack, LONGEST_ANSWER_SECONDS)
        return str(answer.json()["id"]) if answer.status_code == 202 else None

    def _ended_run(self, run_id: str) -> dict[str, Any] | None:
        answer = self._ask_client(f"/runs/{run_id}")
        run: dict[str, Any] = answer.json()
        return run if answer.status_code == 200 and run["status"] != "running" else None

    def _tokens_issued(self) -> int:
        return self.stack.demo.compose.logs("auth-server").count('"ISSUE_TOKEN"')

    def _ask_client(self, path: str) -> requests.Response:
        return requests.get(self.stack.client_url + path, timeout=LONGEST_ANSWER_SECONDS)

    def _networks(self) -> list[Network]:
        label = {"label": f"{PROJECT}={self.stack.demo.project}"}
        return list(self.engine.networks.list(filters=label))

    def _aliases(self, network: Network, container: Container) -> list[str]:
        connected = container.attrs["NetworkSettings"]["Networks"].get(network.name)
        return list(connected["Aliases"]) if connected else []
