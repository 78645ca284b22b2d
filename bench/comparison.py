"""The comparison itself: rounds in which each server is started, warmed up, measured and ended.

In each round every server has its turn, so that a machine that gets slower does so for all; every
second round goes backwards, so that nobody is always the first. A server starts anew each round:
its start is timed too, and no other server runs beside it.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TypeVar

from bench.launch import Ask, CannotRunError, Launch, Peer, basic
from bench.machine import Cores
from bench.measuring import Noise, measured
from bench.plan import Plan
from bench.process import ServerError, running, status_of
from bench.programs import CACHE
from bench.verification import BadAnswerError
from bench.wrk import load

OURS = "ours"
Found = TypeVar("Found")
"""What is found of a server in one round."""


@dataclass(frozen=True)
class Measurement:
    """One ask of one server in one round."""

    peer: str
    ask: str
    round: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """CPU time of the server for one answer."""
    memory_mib: float
    start_seconds: float
    answers: int
    noise: Noise
    turn: int = 0
    """Which of the turns that the ask has in a round."""


@dataclass(frozen=True)
class Comparison:
    """All that was measured, and who is missing and why."""

    measurements: tuple[Measurement, ...]
    versions: dict[str, str]
    left_out: dict[str, str]


def compare(peers: Sequence[Peer], plan: Plan, cores: Cores, turns: int = 1) -> Comparison:
    """Measure ``peers`` in interleaved rounds.

    Within a round what a server is asked takes ``turns`` turns, and each its share of the time: for
    a difference between two asks, which is small beside what a machine's speed changes in a round.

    Raises BadAnswerError or LoadError where one answer of any of them is wrong.
    """
    left_out: dict[str, str] = {}
    one_round = partial(_one_round, plan, cores, turns)
    found, versions = in_rounds(peers, plan.rounds, left_out, one_round)
    return Comparison(tuple(found), versions, left_out)


def in_rounds(
    peers: Sequence[Peer],
    rounds: int,
    left_out: dict[str, str],
    one_round: Callable[[Peer, Launch, int, Path], Iterable[Found]],
) -> tuple[list[Found], dict[str, str]]:
    """Return what ``one_round`` finds of each server in interleaved rounds, and their versions.

    It is told the server, the number of the round and a folder. A server that cannot be installed,
    or does not start in the first round, is noted in ``left_out``, and nothing of it is returned.
    """
    found: dict[str, list[Found]] = {}
    with run_folder() as folder:
        ready = list(_prepared(peers, folder, left_out))
        for number in range(1, rounds + 1):
            for peer, launch in ready if number % 2 else reversed(ready):
                if peer.name in left_out:
                    continue
                print(f"round {number}: {peer.name} {_names(launch.asks)}", flush=True)
                try:
                    found.setdefault(peer.name, []).extend(one_round(peer, launch, number, folder))
                except ServerError as error:
                    if number > 1:
                        raise
                    _leave_out(peer, error, left_out)
    present = {peer.name: launch.versions for peer, launch in ready if peer.name not in left_out}
    return [one for name in present for one in found[name]], present


def _names(asks: Iterable[Ask]) -> str:
    return " and ".join(ask.name for ask in asks)


def _require_authentication(port: int, ask: Ask) -> None:
    """Raise BadAnswerError where wrong credentials get what the right ones get."""
    if not ask.is_guarded:
        return
    wrong = basic("bench", "wrong") if ask.algorithm else "Bearer wrong"
    status = status_of(port, replace(ask, headers={**ask.headers, "Authorization": wrong}))
    if status != 401:
        raise BadAnswerError(f"wrong credentials are answered with {status}, not with 401")


@contextmanager
def run_folder() -> Iterator[Path]:
    """Yield a folder for what one run leaves behind: databases, logs, answers."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    yield folder
    shutil.rmtree(folder)  # after a failure it stays: its logs say why


def _prepared(
    peers: Sequence[Peer], folder: Path, left_out: dict[str, str]
) -> Iterator[tuple[Peer, Launch]]:
    """Yield the peers that can run, installed and set up; note in ``left_out`` why others can't."""
    for number, peer in enumerate(peers):
        own = folder / f"{number}-{peer.name.replace(' ', '-')}"
        own.mkdir()
        try:
            yield peer, peer.prepare(own)
        except CannotRunError as reason:
            _leave_out(peer, reason, left_out)


def _leave_out(peer: Peer, reason: Exception, left_out: dict[str, str]) -> None:
    """Note why ``peer`` is missing; without ours there is nothing to compare."""
    if peer.name == OURS:
        raise reason
    print(f"left out: {peer.name}: {reason}", flush=True)
    left_out[peer.name] = str(reason)


def _one_round(
    plan: Plan, cores: Cores, turns: int, peer: Peer, launch: Launch, number: int, folder: Path
) -> Iterator[Measurement]:
    log = folder / f"{peer.name.replace(' ', '-')}.log"
    warm = set[str]()
    with running(launch, cores.for_servers(launch.processes), log) as (server, start_seconds):
        for turn, ask in product(range(turns), launch.asks):
            if ask.name not in warm:
                warm.add(ask.name)
                _require_authentication(launch.port, ask)
                load(launch.port, ask, plan.warm_up(peer), cores.load)
            seconds = plan.seconds / turns
            result, cpu_us, noise = measured(server, launch, ask, seconds, cores, folder)
            yield Measurement(
                peer.name,
                ask.name,
                number,
                result.rate,
                result.p50_ms,
                result.p99_ms,
                cpu_us,
                server.memory_mib(),
                start_seconds,
                result.requests,
                noise,
                turn,
            )
