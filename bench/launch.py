"""How a server is started and what it is asked: what each module of `bench/peers/` returns."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FORM = "application/x-www-form-urlencoded"
SCOPE = "Read"
AUDIENCE = "urn:bench:api"
"""The API that the peers' tokens are for, as their own files name it."""
TOKEN_FORM = f"grant_type=client_credentials&scope={SCOPE}"


class CannotRunError(Exception):
    """A peer that cannot be installed or run here; the text is the reason, for the report."""


@dataclass(frozen=True)
class Varied:
    """A file with one line for each request, in place of a part that is always the same."""

    part: Literal["body", "authorization"]
    file: Path


@dataclass(frozen=True)
class Ask:
    """One request that the load repeats, and what its good answer is."""

    name: str
    path: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    algorithm: str | None = None
    """What the token in the answer has to be signed with; None: the answer holds no token."""
    is_guarded: bool = False
    """Whether wrong credentials have to be answered with a 401."""
    varied: Callable[[float], Varied] | None = None
    """Makes what differs from request to request, enough for so many seconds of load."""


def token_ask(name: str, path: str, client: str, secret: str, form: str = TOKEN_FORM) -> Ask:
    """Return the request for a token signed with ``name``, by HTTP Basic (RFC 6749 §2.3.1)."""
    headers = {"Content-Type": FORM, "Authorization": basic(client, secret)}
    return Ask(name, path, "POST", headers, form, name, is_guarded=True)


def basic(client: str, secret: str) -> str:
    """Return the header of HTTP Basic; neither text needs to be encoded for a form."""
    return "Basic " + b64encode(f"{client}:{secret}".encode()).decode()


@dataclass(frozen=True)
class Launch:
    """A server that is ready to be started, as often as one likes."""

    command: tuple[str, ...]
    folder: Path
    port: int
    asks: tuple[Ask, ...]
    """What it is asked, one after the other; the first one's answer ends the start."""
    environment: Mapping[str, str] = field(default_factory=dict)
    jwks_path: str = ""
    """Where its public keys are."""
    versions: str = ""
    """What it is made of, for the report."""
    processes: int = 1
    """How many processes do its work: it has as many cores, if there are."""
    first: Ask | None = None
    """What is asked until the server answers; the first of ``asks`` unless it is named."""
    start_seconds: float = 60
    audience: str = AUDIENCE
    """The API that its tokens have to name."""


@dataclass(frozen=True)
class Peer:
    """One server of the comparison."""

    name: str
    prepare: Callable[[Path], Launch]
    """Install and set up what it needs, in a folder for this run; raises CannotRunError."""
    compiles_while_it_runs: bool = False
    """Whether it gets faster for a minute, as Java does: it is warmed up for longer."""
