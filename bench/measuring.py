"""One measurement: the load on a warm server, what else went on, and every answer judged."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from bench.launch import Ask, Launch
from bench.machine import Cores, CoreTimes, calibration_ms, core_times, load_average
from bench.process import Server
from bench.verification import BadAnswerError, published_keys, require_200, verify_tokens
from bench.wrk import CONNECTIONS, LoadResult, answers_in, load


@dataclass(frozen=True)
class Noise:
    """What else went on during a measurement."""

    calibration_ms: float
    others_percent: float
    """Of the server's cores, what other programs took."""
    stolen_percent: float
    """Of all cores that are used, what the hypervisor took."""
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
    cpu, noise = watch.ended(result.cpu_seconds)
    judge(launch, ask, answers, result.requests - CONNECTIONS)  # the last ones may be cut off
    answers.unlink()
    return result, cpu / result.requests * 1e6, noise


def _made_ready(ask: Ask, seconds: float) -> Ask:
    """Return ``ask`` with what varies made already: it may take longer than the load."""
    if ask.varied is None:
        return ask
    made = ask.varied(seconds)
    return replace(ask, varied=lambda _: made)


class Watch:
    """Watches, from now on, what a server takes of its cores, and what others do meanwhile."""

    def __init__(self, server: Server, cores: Cores) -> None:
        self._server, self._server_cores, self._load_core = server, server.cores(), cores.load
        self._calibration = calibration_ms(cores.server)
        self._before = self._now()

    def ended(self, load_cpu_seconds: float) -> tuple[float, Noise]:
        """Return the server's CPU seconds since the watch began, and the noise.

        ``load_cpu_seconds`` is what the load took of its own core.
        """
        spent = self._now() - self._before
        noise = spent.noise(len(self._server_cores), load_cpu_seconds, self._calibration)
        return spent.cpu, noise

    def _now(self) -> "Times":
        return Times(
            time.monotonic(),
            self._server.cpu_seconds(),
            core_times(self._server_cores),
            core_times({self._load_core}),
        )


@dataclass(frozen=True)
class Times:
    """The clock, the CPU seconds of the server, and what its cores and the load's one did."""

    clock: float
    cpu: float
    of_server: CoreTimes
    of_load: CoreTimes

    def __sub__(self, before: "Times") -> "Times":
        return Times(
            self.clock - before.clock,
            self.cpu - before.cpu,
            self.of_server - before.of_server,
            self.of_load - before.of_load,
        )

    def noise(self, server_cores: int, load_cpu_seconds: float, calibration: float) -> Noise:
        """Return what else went on in this time, in which the server had so many cores."""
        others = max(0.0, self.of_server.busy - self.cpu)
        stolen = self.of_server.stolen + self.of_load.stolen
        return Noise(
            calibration,
            100 * others / (server_cores * self.clock),
            100 * stolen / ((server_cores + 1) * self.clock),
            100 * load_cpu_seconds / self.clock,
            load_average(),
        )


def judge(launch: Launch, ask: Ask, answers: Path, at_least: int) -> None:
    """Raise BadAnswerError where an answer is wrong, or where there are fewer than ``at_least``."""
    if ask.algorithm is None:
        count = require_200(answers_in(answers))
    else:
        keys = published_keys(launch.port, launch.jwks_path)
        count = verify_tokens(answers_in(answers), keys, ask.algorithm, launch.audience)
    if count < at_least:
        raise BadAnswerError(f"{count} answers were kept to be judged, of {at_least} or more")
