"""The comparison itself: rounds in which each server is started, warmed up, measured and ended.

In each round every server has its turn, so that a machine that gets slower does so for all; every
second round goes backwards, so that nobody is always the first. A server starts anew each round:
its start is timed too, and no other server runs beside it.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from bench.launch import Ask, CannotRunError, Launch, Peer, basic
from bench.machine import Cores, CoreTimes, calibration_ms, core_times, load_average
from bench.process import Server, ServerError, running, status_of
from bench.programs import CACHE
from bench.verification import BadAnswerError, published_keys, require_200, verify_tokens
from bench.wrk import LoadResult, answers_in, load

OURS = "ours"
COMPILER_FACTOR = 6
"""How much longer a server is warmed up that compiles itself while it runs."""


@dataclass(frozen=True)
class Plan:
    """How long everything takes."""

    rounds: int
    seconds: float
    warm_up_seconds: float
    soak_seconds: float = 600

    def warm_up(self, peer: Peer) -> float:
        """Return for how long ``peer`` is warmed up."""
        return self.warm_up_seconds * (COMPILER_FACTOR if peer.compiles_while_it_runs else 1)


FULL = Plan(rounds=3, seconds=15, warm_up_seconds=10)
QUICK = Plan(rounds=3, seconds=3, warm_up_seconds=1)


@dataclass(frozen=True)
class Noise:
    """What else went on during a measurement."""

    calibration_ms: float
    others_percent: float
    """Of the server's core, what other programs took."""
    stolen_percent: float
    """Of both cores, what the hypervisor took."""
    load_percent: float
    """Of its core, what the load took: near 100 the load is what limits the figures."""
    load_average: float


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


@dataclass(frozen=True)
class Comparison:
    """All that was measured, and who is missing and why."""

    measurements: tuple[Measurement, ...]
    versions: dict[str, str]
    left_out: dict[str, str]


def compare(peers: Sequence[Peer], plan: Plan, cores: Cores) -> Comparison:
    """Measure ``peers`` in interleaved rounds.

    Raises BadAnswerError or LoadError where one answer of any of them is wrong.
    """
    left_out: dict[str, str] = {}
    with run_folder() as folder:
        ready = list(_prepared(peers, folder, left_out))
        found: list[Measurement] = []
        for number in range(1, plan.rounds + 1):
            for peer, launch in ready if number % 2 else reversed(ready):
                print(f"round {number}: {peer.name} {launch.asks[0].name}", flush=True)
                try:
                    found += _one_round(peer, launch, number, plan, cores, folder)
                except ServerError as error:
                    if number > 1:
                        raise
                    _leave_out(peer, error, left_out)
            ready = [(peer, launch) for peer, launch in ready if peer.name not in left_out]
    versions = {peer.name: launch.versions for peer, launch in ready}
    return Comparison(tuple(found), versions, left_out)


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
    peer: Peer, launch: Launch, number: int, plan: Plan, cores: Cores, folder: Path
) -> Iterator[Measurement]:
    log = folder / f"{peer.name.replace(' ', '-')}.log"
    with running(launch, cores.for_servers(launch.processes), log) as (server, start_seconds):
        for ask in launch.asks:
            _require_authentication(launch.port, ask)
            load(launch.port, ask, plan.warm_up(peer), cores.load)
            result, cpu_us, noise = measured(server, launch, ask, plan.seconds, cores, folder)
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
            )


def measured(
    server: Server,
    launch: Launch,
    ask: Ask,
    seconds: float,
    cores: Cores,
    folder: Path,
) -> tuple[LoadResult, float, Noise]:
    """Put the load on a warm server; return its figures, its CPU µs an answer, and the noise.

    Every answer is judged when the measurement is over.
    """
    answers, ask = folder / "answers", _made_ready(ask, seconds)
    calibration = calibration_ms(cores.server)
    before = _Times.now(server, cores)
    result = load(launch.port, ask, seconds, cores.load, answers)
    spent = _Times.now(server, cores) - before
    judge(launch, ask, answers)
    answers.unlink()
    return result, spent.cpu / result.requests * 1e6, spent.noise(result, calibration)


def _made_ready(ask: Ask, seconds: float) -> Ask:
    """Return ``ask`` with what varies made already: it may take longer than the load."""
    if ask.varied is None:
        return ask
    made = ask.varied(seconds)
    return replace(ask, varied=lambda _: made)


@dataclass(frozen=True)
class _Times:
    """The CPU seconds of the server, and how its core and the load's spent their time."""

    cpu: float
    of_server: CoreTimes
    of_load: CoreTimes

    @classmethod
    def now(cls, server: Server, cores: Cores) -> Self:
        return cls(server.cpu_seconds(), core_times(cores.server), core_times(cores.load))

    def __sub__(self, before: "_Times") -> "_Times":
        return _Times(
            self.cpu - before.cpu,
            self.of_server - before.of_server,
            self.of_load - before.of_load,
        )

    def noise(self, result: LoadResult, calibration: float) -> Noise:
        """Return what else went on while ``result`` was measured."""
        others = max(0.0, self.of_server.busy - self.cpu)
        stolen = (self.of_server.stolen + self.of_load.stolen) / 2
        return Noise(
            calibration,
            100 * others / result.seconds,
            100 * stolen / result.seconds,
            100 * result.cpu_seconds / result.seconds,
            load_average(),
        )


def judge(launch: Launch, ask: Ask, answers: Path) -> int:
    """Return how many answers there are; raise BadAnswerError where one is wrong."""
    if ask.algorithm is None:
        return require_200(answers_in(answers))
    keys = published_keys(launch.port, launch.jwks_path)
    return verify_tokens(answers_in(answers), keys, ask.algorithm)
