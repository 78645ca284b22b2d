"""What a call costs the client: by plain `requests`, and through a session that has our token.

It is CPU time of the client's process; the bank that answers is ours, on the other core.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.machine import Cores
from bench.measuring import Noise, Watch
from bench.own_stack import Companion, OwnStack, companion, own_stack
from bench.plan import Plan
from bench.programs import python_versions
from bench.report import put_section, shown, table
from bench.spread import Spread

TOKEN_SECONDS = 3600
"""How long the token lives: longer than this takes, so none is asked for in between."""

Round = Mapping[str, Sequence[float]]
"""By the name of a call its CPU µs, and how much that is above a plain one."""


def measure(plan: Plan, cores: Cores, out: Path) -> str:
    """Measure the calls in as many rounds as the plan has."""
    rounds: list[Round] = []
    noises: list[Noise] = []
    with (
        own_stack(cores, AUTH_SERVER_ACCESS_TOKEN_LIFETIME_SECONDS=str(TOKEN_SECONDS)) as stack,
        companion(stack, "bench.client_calls") as client,
    ):
        client.ask(str(plan.warm_up_seconds))
        for number in range(1, plan.rounds + 1):
            print(f"round {number}: the client's calls", flush=True)
            told, noise = _one_round(stack, client, plan.seconds)
            rounds.append(told)
            noises.append(noise)
        versions = python_versions(stack.python, "requests", "urllib3")
    section = [*lines(rounds), "", f"{versions}."]
    return put_section(out, "client", section, cores, noises, plan)


def _one_round(stack: OwnStack, client: Companion, seconds: float) -> tuple[Round, Noise]:
    watch, before = Watch(client.server, stack.cores), sum(stack.cpu_seconds().values())
    told: Round = client.ask(str(seconds))
    spent = sum(stack.cpu_seconds().values()) - before
    return told, watch.ended(spent)[1]


def lines(rounds: Sequence[Round]) -> list[str]:
    """Return the section on ``rounds``."""
    return [
        "## The client's cost per call, over plain `requests`",
        "",
        "A GET of the bank's account, over a connection that is kept and with a token that is "
        "held: CPU time of the client's process alone, which has the server's core; the services "
        "have the load's. Blocks of each kind alternate, and a round's figure is the median of its "
        "blocks. Plain `requests` looks for a password in `.netrc` at each call, and a session "
        "with an `auth` does not: so ours can be the cheaper one.",
        "",
        *table(
            ("call", "CPU µs", "over plain, CPU µs"),
            [
                (name, *(shown(Spread.of(one[name][part] for one in rounds), 0) for part in (0, 1)))
                for name in rounds[0]
            ],
        ),
    ]
