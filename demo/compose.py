"""Calls `docker compose` for the containers of docker-compose.yml."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NoReturn

from demo.processes import ROOT, DemoError, become

ANSWER_SECONDS = 10
COMMAND_SECONDS = 120
START_SECONDS = 1800  # the first start downloads and builds images
FIRST_STEP = "ARG VERSION"  # of our Dockerfiles' last stage: what came before is their base's
ERASE_LINE = "\x1b[2K"
OLDEST_COMPOSE = (2, 24)  # the first that knows a file of settings that may be missing


@dataclass(frozen=True)
class Compose:
    """One Compose project: its name, the values that its files take from outside, and these."""

    project: str
    values: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[str] = ("docker-compose.yml",)

    def run(
        self, *arguments: str, timeout: float = COMMAND_SECONDS, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker compose ARGUMENTS` and return what it said, whatever its status is."""
        command = self._command(*arguments)
        return _run(*command, values=self.values, timeout=timeout, given=given)

    def become(self, *arguments: str) -> NoReturn:
        """Turn this process into `docker compose ARGUMENTS`."""
        become(self._command(*arguments), os.environ | dict(self.values))

    def do(self, *arguments: str, timeout: float = COMMAND_SECONDS) -> str:
        """Run `docker compose ARGUMENTS`; raise DemoError with its last words where it fails."""
        result = self.run(*arguments, timeout=timeout)
        if result.returncode != 0:
            raise DemoError(f"docker compose {arguments[0]}: {_reason(result.stderr)}")
        return result.stdout

    def _command(self, *arguments: str) -> list[str]:
        command = ["docker", "compose", "--ansi", "never", "--progress", "plain"]
        command += [f"--file={ROOT / file}" for file in self.files]
        return [*command, "--project-name", self.project, *arguments]

    def running(self) -> set[str]:
        """Return the names of the services of which a container runs."""
        return set(self.do("ps", "--services", "--status", "running").split())

    def logs(self, *arguments: str) -> str:
        """Return what `docker compose logs` prints, without the codes it puts before each line."""
        text = self.do("logs", "--no-color", "--no-log-prefix", *arguments)
        return text.replace(ERASE_LINE, "")

    def has_volume(self, volume: str) -> bool:
        """Tell whether a volume of the project is there, from an earlier start."""
        name = f"{self.project}_{volume}"
        return _run("docker", "volume", "inspect", name, timeout=ANSWER_SECONDS).returncode == 0


def remove_images(images: Iterable[str]) -> None:
    """Remove those of ``images`` that are there."""
    _run("docker", "image", "rm", *images, timeout=COMMAND_SECONDS)


def added_bytes(image: str) -> int:
    """Return how much ``image``, one of ours, adds to the image that it is built on."""
    command = ("docker", "history", "--human=false", "--no-trunc", "--format={{json .}}", image)
    told = _run(*command, timeout=ANSWER_SECONDS)
    if told.returncode != 0:
        raise DemoError(f"docker history: {_reason(told.stderr)}")
    newest_first = [json.loads(line) for line in told.stdout.splitlines()]
    ours = takewhile(lambda step: FIRST_STEP not in step["CreatedBy"], newest_first)
    return sum(int(step["Size"]) for step in ours)


def why_no_containers() -> str | None:
    """Return what keeps this machine from running containers; None where nothing does."""
    if shutil.which("docker") is None:
        return "no docker command is installed"
    try:
        engine = _run(
            "docker", "version", "--format", "{{.Server.Version}}", timeout=ANSWER_SECONDS
        )
        if engine.returncode != 0:
            return "no Docker engine answers"
        version = _run("docker", "compose", "version", "--short", timeout=ANSWER_SECONDS).stdout
    except DemoError as error:
        return str(error)
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_COMPOSE:
        return f"Docker Compose {'.'.join(map(str, OLDEST_COMPOSE))} or newer is not installed"
    return None


def _run(
    *command: str,
    timeout: float,
    values: Mapping[str, str] | None = None,
    given: str | None = None,
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | dict(values or {}),
            input=given or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise DemoError("the system runs in containers, and no docker command is found") from error
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"the Docker engine does not answer within {timeout:g} s") from error


def _reason(said: str) -> str:
    """Return the line that says why: the last one, or the last that names an error."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()] or ["it failed"]
    named = [line for line in lines if re.search(r"\berror\b|didn't complete|failed", line, re.I)]
    return (named or lines)[-1]
