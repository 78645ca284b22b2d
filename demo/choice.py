"""Which stack a command is for: local processes or containers, and on which ports."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from demo.compose import why_no_containers
from demo.container_stack import PROJECT, ContainerStack
from demo.local_stack import LocalStack, Ports
from demo.processes import ROOT, DemoError
from demo.remembered import remembered

LOCAL, DOCKER = "local", "docker"
DESCRIPTIONS = {
    LOCAL: "local (three processes, SQLite, a vault directory)",
    DOCKER: "docker (containers, PostgreSQL, OpenBao)",
}
STACK_VARIABLE = "STACK"
PORT_VARIABLES = {"auth_server": "AUTH_PORT", "resource_server": "BANK_PORT",
                  "client_service": "CLIENT_PORT"}  # fmt: skip

Stack = LocalStack | ContainerStack


def stack_to_start(
    state: Path,
    environment: Mapping[str, str],
    problem: Callable[[], str | None] = why_no_containers,
) -> tuple[Stack, str]:
    """Return the stack that `make up` is to start, and the words that say which and why.

    One that runs is taken again, and one that was started before is started again: it has the
    data. Raises DemoError where the other one was asked for while one runs.
    """
    asked = environment.get(STACK_VARIABLE) or None
    if asked not in (None, *DESCRIPTIONS):
        raise DemoError(f"STACK: {asked!r} is neither local nor docker")
    last = remembered(state).kind
    reason = None if asked == last == LOCAL else problem()
    if last == LOCAL or (last == DOCKER and not reason):
        before = _stack(last, state, environment)
        if any(service.is_running() for service in before.services):
            if asked not in (None, last):
                raise DemoError(f"the {last} stack runs: make down, and then make up STACK={asked}")
            return before, f"{DESCRIPTIONS[last]}, which runs already"
        if not asked:
            other = DOCKER if last == LOCAL else LOCAL
            return before, f"{DESCRIPTIONS[last]}, as before; STACK={other} chooses the other"
    if asked:
        return _stack(asked, state, environment), f"{DESCRIPTIONS[asked]}, as STACK says"
    if reason:
        return _stack(LOCAL, state, environment), f"{DESCRIPTIONS[LOCAL]}, as {reason}"
    words = f"{DESCRIPTIONS[DOCKER]}, as a Docker engine answers; STACK=local needs none"
    return _stack(DOCKER, state, environment), words


def stack_started_last(state: Path, environment: Mapping[str, str]) -> Stack:
    """Return the stack that was started last in ``state``, wherever it runs."""
    return _stack(remembered(state).kind or LOCAL, state, environment)


def every_stack(state: Path, environment: Mapping[str, str]) -> Iterator[Stack]:
    """Yield each stack that may have kept something: containers keep a volume elsewhere."""
    containers = containers_of(state, environment)
    if containers.secrets_folder.exists():
        yield containers
    yield _stack(LOCAL, state, environment)


def containers_of(state: Path, environment: Mapping[str, str]) -> ContainerStack:
    """Return the stack of containers of ``state``, started or not."""
    project = remembered(state).project or _project_of(state)
    return ContainerStack(state, _ports(state, environment), project)


def _stack(kind: str, state: Path, environment: Mapping[str, str]) -> Stack:
    if kind == LOCAL:
        return LocalStack(state, _ports(state, environment))
    return containers_of(state, environment)


def _project_of(state: Path) -> str:
    """Return the Compose project of ``state``: a folder of one's own has one of its own."""
    if state == ROOT / ".local":
        return PROJECT
    return f"{PROJECT}-{hashlib.sha256(str(state).encode()).hexdigest()[:8]}"


def _ports(state: Path, environment: Mapping[str, str]) -> Ports:
    """Return the ports that were asked for; else those of the stack that was started before."""
    ports = dict(remembered(state).ports)
    for service, variable in PORT_VARIABLES.items():
        text = environment.get(variable)
        if not text:
            continue
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
            raise DemoError(f"{variable}: not a port: {text!r}")
        ports[service] = int(text)
    chosen = Ports(**ports)
    if len(set(asdict(chosen).values())) < len(PORT_VARIABLES):
        raise DemoError(f"{', '.join(PORT_VARIABLES.values())}: two of the ports are the same")
    return chosen
