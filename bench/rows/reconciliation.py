"""What a long account costs to reconcile: time, memory, and the stage that limits it.

The client's process first reads the demo's short account, to be as large as an idle worker is. Then
it is told that the long account is its own: it reads that from its beginning, once more when
nothing is new, and audits all of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import Cores
from bench.measuring import Noise, Watch
from bench.own_stack import Companion, OwnStack, companion, own_stack
from bench.plan import Plan
from bench.report import put_section, table
from client_service.jobs import FULL_AUDIT, RECONCILE
from shared.identifiers import DEMO_CLIENT

ACCOUNT = "large-account"
BANK = "resource_server"
RUNS = (
    ("from the beginning", RECONCILE),
    ("nothing new", RECONCILE),
    ("full audit", FULL_AUDIT),
)


@dataclass(frozen=True)
class Run:
    """What one run cost: the client's process, and the bank meanwhile."""

    name: str
    transactions: int
    seconds: float
    cpu_seconds: float
    bank_cpu_seconds: float
    peak_mib_over_idle: float
    stages: Mapping[str, Sequence[float]]
    """The seconds and the CPU seconds of each part of the client's work."""
    noise: Noise


def measure(plan: Plan, cores: Cores, out: Path) -> str:
    """Let the client read an account as long as the plan says."""
    with own_stack(cores) as stack, companion(stack, "bench.reconciliation") as client:
        idle = client.ask(RECONCILE)["memory_mib"]
        print(f"booking {plan.transactions:,} transactions", flush=True)
        stack.demo("cli", BANK, f"ledger seed --transactions {plan.transactions}")
        stack.demo("cli", BANK, f"access grant {DEMO_CLIENT} {ACCOUNT} --default")
        runs = [_run(stack, client, name, job, idle) for name, job in RUNS]
    noises = [run.noise for run in runs if run.transactions]  # the other is over too soon
    section = lines(idle, runs)
    return put_section(out, "reconciliation", section, cores, noises, plan, has_rounds=False)


def _run(stack: OwnStack, client: Companion, name: str, job: str, idle: float) -> Run:
    print(f"reconciliation: {name}", flush=True)
    watch, before = Watch(client.server, stack.cores), stack.cpu_seconds()
    told: dict[str, Any] = client.ask(job)
    services = {one: spent - before[one] for one, spent in stack.cpu_seconds().items()}
    _, noise = watch.ended(sum(services.values()))
    return Run(
        name,
        told["transactions"],
        told["seconds"],
        told["cpu_seconds"],
        services[BANK],
        told["peak_mib"] - idle,
        told["stages"],
        noise,
    )


def lines(idle: float, runs: Sequence[Run]) -> list[str]:
    """Return the section on ``runs``, of which the first reads everything for the first time."""
    first = runs[0]
    return [
        "## Reconciliation of a long account",
        "",
        f"{first.transactions:,} transactions in one pass; the idle client has {idle:.0f} MiB. "
        f"The client has the server's core, the services the load's. {limit(first)}",
        "",
        *table(
            ("run", "transactions", "s", "client's CPU s", "bank's CPU s", "peak MiB over idle"),
            [
                (
                    run.name,
                    f"{run.transactions:,}",
                    f"{run.seconds:.1f}",
                    f"{run.cpu_seconds:.1f}",
                    f"{run.bank_cpu_seconds:.1f}",
                    f"{run.peak_mib_over_idle:.1f}",
                )
                for run in runs
            ],
        ),
        "",
        "The stages of the first run:",
        "",
        *table(
            ("stage", "s", "client's CPU s"),
            [(name, *(f"{one:.1f}" for one in spent)) for name, spent in first.stages.items()],
        ),
    ]


def limit(run: Run) -> str:
    """Return a sentence on the stage that takes most of the time of ``run``."""
    stage, (seconds, cpu) = max(run.stages.items(), key=lambda item: item[1][0])
    return (
        f"What limits the pass is the stage `{stage}`: {seconds:.1f} s of its {run.seconds:.1f} s, "
        f"of which the client computes {cpu:.1f} s. The bank computes {run.bank_cpu_seconds:.1f} s "
        "in all."
    )
