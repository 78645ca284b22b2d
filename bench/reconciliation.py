"""What a long account costs: `python -m bench.reconciliation --transactions 1000000`.

A local stack of its own is started in a temporary folder, its bank filled, and the client told that
the long account is its own. One process then does what a worker does: first a run on the demo's
short account, to be as large as an idle worker is; then a reconciliation of the long one from its
beginning, one with nothing new, and a full audit. Peak memory is what the operating system says of
the process, and a clock stands around each stage. Where a stage takes more time than CPU, it waits:
for the bank, which works on the same machine, or for the disk.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from client_service import arrow_events
from client_service.app import SERVICE, ClientService, create_app
from client_service.bank_client import BankClient
from client_service.runs import Trigger, find_run
from client_service.schedule import Schedule
from client_service.transaction_pages import Reading
from shared.identifiers import DEMO_CLIENT
from shared.service_logging import RedactingJsonFormatter
from tests.stack.local_stack import LocalStack, local_stack

ACCOUNT = "large-account"
KIBIBYTES_A_UNIT = 1 / 1024 if sys.platform == "darwin" else 1
STAGES: dict[str, tuple[object, str]] = {
    "ask for pages": (BankClient, "page"),
    "sum and digest": (Reading, "on"),
    "save": (Schedule, "save"),
    "store arrow events": (arrow_events, "store_events"),
}

Spent = dict[str, list[float]]
"""The seconds and the CPU seconds of each stage."""


def main() -> None:
    """Start a stack, measure in a process of its own, and print a line for each run and stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=1_000_000)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure()
        return
    with tempfile.TemporaryDirectory() as folder:
        stack = local_stack(Path(folder), CLIENT_SERVICE_SCHEDULER="false")
        try:
            stack.demo.up()
            _require(stack, "ledger", "seed", "--transactions", str(options.transactions))
            _measure_in_a_process(stack)
        finally:
            stack.demo.down()


def _measure_in_a_process(stack: LocalStack) -> None:
    """Let a fresh process measure; when it is warm, give it the long account for the short one."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.reconciliation", "--measure"],
        env=stack.demo.environment(SERVICE),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None, "it was asked for"
        assert process.stdout is not None, "it was asked for"
        print(process.stdout.readline(), end="")
        _require(stack, "access", "grant", DEMO_CLIENT, ACCOUNT, "--default")
        process.stdin.write("\n")
        process.stdin.flush()
        for line in process.stdout:
            print(line, end="", flush=True)
    if process.returncode != 0:
        sys.exit(f"the measuring process ended with {process.returncode}")


def _require(stack: LocalStack, *arguments: str) -> None:
    """Let the bank do a command, however long it takes; end the measurement where it fails."""
    result = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", "flask", "--app", "resource_server.app", *arguments],
        env=stack.demo.environment("resource_server"),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        sys.exit(result.stderr)


def measure() -> None:
    """Do the runs in this process, whose environment is that of a client service."""
    with _logs_thrown_away():
        service: ClientService = create_app().extensions[SERVICE]
        one_run(service, "reconcile")
        idle = mebibytes_now()
        print(f"idle: {idle:.0f} MiB", flush=True)
        sys.stdin.readline()
        for title, job in (
            ("reconciliation from the beginning", "reconcile"),
            ("reconciliation, nothing new", "reconcile"),
            ("full audit", "full-audit"),
        ):
            _measured(service, title, job, idle)
        service.provider.shutdown()


def _measured(service: ClientService, title: str, job: str, idle: float) -> None:
    spent: Spent = defaultdict(lambda: [0.0, 0.0])
    with ExitStack() as patches:
        for stage, (holder, name) in STAGES.items():
            patches.enter_context(_a_clock_around(holder, name, stage, spent))
        began, cpu_began = time.monotonic(), time.thread_time()
        read = one_run(service, job)["transactions_read"]
        seconds, cpu = time.monotonic() - began, time.thread_time() - cpu_began
    print(f"{title}: {read} transactions in {seconds:.1f} s, {cpu:.1f} s of CPU")
    print(f"  peak memory: {peak_mebibytes() - idle:.1f} MiB over idle")
    for stage, (stage_seconds, stage_cpu) in spent.items():
        print(f"  {stage:20} {stage_seconds:8.1f} s {stage_cpu:8.1f} s of CPU", flush=True)


def one_run(service: ClientService, job: str) -> dict[str, Any]:
    """Return what a run of ``job`` came to; end the measurement where it did not succeed."""
    lease = service.schedules[job].take_now(Trigger.COMMAND)
    assert lease is not None, "nobody else runs the job"
    service.worker.work(lease)
    run = find_run(service.database, lease.run_id)
    if run is None or run.result is None or not run.result["balanced"]:
        sys.exit(f"the run did not balance: {json.dumps(run and run.detail)}")
    return dict(run.result)


def peak_mebibytes() -> float:
    """Return the most memory that this process has had in use so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTES_A_UNIT / 1024


def mebibytes_now() -> float:
    """Return the memory that this process has in use; its peak where only that can be told."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_mebibytes()
    return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20


@contextmanager
def _a_clock_around(holder: object, name: str, stage: str, spent: Spent) -> Iterator[None]:
    timed: Callable[..., Any] = getattr(holder, name)

    def around(*arguments: Any, **options: Any) -> Any:
        began, cpu_began = time.monotonic(), time.thread_time()
        try:
            return timed(*arguments, **options)
        finally:
            spent[stage][0] += time.monotonic() - began
            spent[stage][1] += time.thread_time() - cpu_began

    with mock.patch.object(holder, name, around):
        yield


@contextmanager
def _logs_thrown_away() -> Iterator[None]:
    with Path(os.devnull).open("w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(RedactingJsonFormatter(SERVICE))
        root = logging.getLogger()
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        try:
            yield
        finally:
            root.removeHandler(handler)


if __name__ == "__main__":
    main()
