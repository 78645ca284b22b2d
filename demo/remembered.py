"""What `make up` remembers in the state folder, so that other commands reach what it started."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from demo.processes import write_whole

FILE = "last-stack.json"


@dataclass(frozen=True)
class Remembered:
    """The stack that was started last: its kind, its ports, and of containers their project."""

    kind: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    project: str | None = None


def remember(state: Path, kind: str, ports: Mapping[str, int], project: str | None = None) -> None:
    """Remember in ``state`` which stack is started there, and where it answers."""
    text = json.dumps({"kind": kind, "ports": dict(ports), "project": project})
    write_whole(state / FILE, text + "\n")


def remembered(state: Path) -> Remembered:
    """Return what was remembered in ``state``, which is nothing where nothing was started."""
    file = state / FILE
    return Remembered(**json.loads(file.read_text())) if file.exists() else Remembered()
