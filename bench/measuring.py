"""One measurement: the load on a warm server, what else went on, and every answer judged."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from bench.launch import Ask, Launch
from bench.machine import Cores, CoreTimes, calibration_ms, core_times, load_average
from bench.process import Server
from bench.verification import published_keys, require_200, verify_tokens
from bench.wrk import LoadResult, answers_in, load


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
    watch = Watch(server, cores)
    result = load(launch.port, ask, seconds, cores.load, answers)
    cpu, noise = watch.ended(result.seconds, result.cpu_seconds)
    judge(launch, ask, answers)
    answers.unlink()
    return result, cpu / result.requests * 1e6, noise


def _made_ready(ask: Ask, seconds: float) -> Ask:
    """Return ``ask`` with what varies made already: it may take longer than the load."""
    if ask.varied is None:
        return ask
    made = ask.varied(seconds)
    return replace(ask, varied=lambda _: made)


class Watch:
    """Watches, from now on, what a server takes of its core, and what others do meanwhile."""

    def __init__(self, server: Server, cores: Cores) -> None:
        self._server, self._cores = server, cores
        self._calibration = calibration_ms(cores.server)
        self._before = _Times.now(server, cores)

    def ended(self, seconds: float, load_cpu_seconds: float) -> tuple[float, Noise]:
        """Return the server's CPU seconds and the noise, after a measurement of so long.

        ``load_cpu_seconds`` is what the load took of its own core.
        """
        spent = _Times.now(self._server, self._cores) - self._before
        return spent.cpu, spent.noise(seconds, load_cpu_seconds, self._calibration)


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

    def noise(self, seconds: float, load_cpu_seconds: float, calibration: float) -> Noise:
        """Return what else went on in the ``seconds`` of the measurement."""
        others = max(0.0, self.of_server.busy - self.cpu)
        stolen = (self.of_server.stolen + self.of_load.stolen) / 2
        return Noise(
            calibration,
            100 * others / seconds,
            100 * stolen / seconds,
            100 * load_cpu_seconds / seconds,
            load_average(),
        )


def judge(launch: Launch, ask: Ask, answers: Path) -> int:
    """Return how many answers there are; raise BadAnswerError where one is wrong."""
    if ask.algorithm is None:
        return require_200(answers_in(answers))
    keys = published_keys(launch.port, launch.jwks_path)
    return verify_tokens(answers_in(answers), keys, ask.algorithm)
