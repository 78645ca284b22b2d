"""One process that does the client's jobs as its worker does: a part of the row `reconciliation`.

It does the job that a line of its standard input names, and answers with how long that took, how
much memory, and how long each stage. A clock stands around each stage; where one takes more time
than CPU, it waits: for the bank, or for the disk.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from bench.client_process import answer, client_service
from client_service import arrow_events
from client_service.app import ClientService
from client_service.bank_client import BankClient
from client_service.runs import Trigger, find_run
from client_service.schedule import Schedule
from client_service.transaction_pages import Reading

STAGES: dict[str, tuple[object, str]] = {
    "ask for pages": (BankClient, "page"),
    "sum and digest": (Reading, "on"),
    "save": (Schedule, "save"),
    "store arrow events": (arrow_events, "store_events"),
}

Spent = dict[str, list[float]]
"""The seconds and the CPU seconds of each stage."""


def main() -> None:
    """Do one job after the other, as they are asked for."""
    answer(partial(measured_run, client_service()))


def measured_run(service: ClientService, job: str) -> dict[str, Any]:
    """Return what a run of ``job`` cost."""
    spent: Spent = defaultdict(lambda: [0.0, 0.0])
    with ExitStack() as patches:
        for stage, (holder, name) in STAGES.items():
            patches.enter_context(_a_clock_around(holder, name, stage, spent))
        began, cpu_began = time.monotonic(), time.thread_time()
        read = one_run(service, job)["transactions_read"]
        seconds, cpu = time.monotonic() - began, time.thread_time() - cpu_began
    now, peak = memory_mib(Path("/proc/self/status").read_text())
    return {
        "transactions": read,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "memory_mib": now,
        "peak_mib": peak,
        "stages": spent,
    }


def one_run(service: ClientService, job: str) -> dict[str, Any]:
    """Return what a run of ``job`` came to; end the measurement where it did not succeed."""
    lease = service.schedules[job].take_now(Trigger.COMMAND)
    assert lease is not None, "nobody else runs the job"
    service.worker.work(lease)
    run = find_run(service.database, lease.run_id)
    if run is None or run.result is None or not run.result["balanced"]:
        sys.exit(f"the run did not balance: {json.dumps(run and run.detail)}")
    return dict(run.result)


def memory_mib(status: str) -> tuple[float, float]:
    """Return the memory in use, and the most that ever was, of a process: `/proc/PID/status`."""
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


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


if __name__ == "__main__":
    main()
