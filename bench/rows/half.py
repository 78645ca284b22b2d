"""How long a token takes at half of what a server can do, with a load that keeps its pace."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.comparison import in_rounds
from bench.constant_rate import load_at
from bench.launch import Launch, Peer
from bench.machine import Cores
from bench.measuring import Noise, Watch, judge, measured
from bench.peers import token_peers
from bench.plan import Plan
from bench.process import running
from bench.report import put_section, shown, table
from bench.spread import Spread
from bench.wrk import load


@dataclass(frozen=True)
class _Half:
    """One server in one round: its top rate, and the latency at half of it."""

    server: str
    algorithm: str
    top: float
    p50_ms: float
    p99_ms: float
    noise: Noise


def measure(plan: Plan, cores: Cores, out: Path) -> str:
    """Measure ours and the peers, one after the other, in interleaved rounds."""
    left_out: dict[str, str] = {}
    one_round = partial(_one_round, plan, cores)
    found, _ = in_rounds(token_peers(), plan.rounds, left_out, one_round)
    noises = [one.noise for one in found]
    return put_section(out, "half", _lines(found, left_out), cores, noises, plan)


def _one_round(
    plan: Plan, cores: Cores, peer: Peer, launch: Launch, _number: int, folder: Path
) -> Iterator[_Half]:
    answers = folder / "answers-at-half"
    with running(launch, cores.for_servers(1), folder / "server.log") as (server, _):
        for ask in launch.asks:
            load(launch.port, ask, plan.warm_up(peer), cores.load)
            top, _, _ = measured(server, launch, ask, plan.seconds, cores, folder)
            watch = Watch(server, cores)
            half = load_at(launch.port, ask, top.rate / 2, plan.seconds, cores.load, answers)
            _, noise = watch.ended(half.cpu_seconds)
            judge(launch, ask, answers, half.requests)
            yield _Half(peer.name, ask.name, top.rate, half.p50_ms, half.p99_ms, noise)


def _lines(found: list[_Half], left_out: dict[str, str]) -> list[str]:
    groups: dict[tuple[str, str], list[_Half]] = {}
    for one in found:
        groups.setdefault((one.server, one.algorithm), []).append(one)
    rows = [
        (
            *key,
            shown(Spread.of(one.top / 2 for one in group), 0),
            shown(Spread.of(one.p50_ms for one in group), 1),
            shown(Spread.of(one.p99_ms for one in group), 1),
        )
        for key, group in groups.items()
    ]
    return [
        "## Latency at half of the top rate",
        "",
        "The load keeps its pace: a request's time counts from when it was due. Each server is at "
        "half of its own top, so the rows are not under the same load.",
        "",
        *table(("server", "algorithm", "asked, tokens/s", "p50 ms", "p99 ms"), rows),
        *(f"\n{peer}: left out, {why}." for peer, why in left_out.items()),
    ]
