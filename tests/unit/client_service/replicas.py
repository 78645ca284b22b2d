"""Replicas of the worker in processes of their own, on one database, for tests that kill them."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess

from opentelemetry.sdk.trace import TracerProvider
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.orm import Session

from client_service.jobs import RegisteredJob
from client_service.schedule import Schedule
from client_service.scheduler import Scheduler
from client_service.task import Report, Task
from client_service.ticks import Interval
from client_service.worker import Worker
from shared.database import Database

JOB = "count-pages"
TICK_SECONDS = 1
LEASE_SECONDS = 1.0
PAGES = 4
PAGE_SECONDS = 0.1
MAKE_PAGES = "CREATE TABLE page (number INTEGER PRIMARY KEY)"


def count_pages(task: Task) -> Report:
    """Enter some pages, each once: the next number and the cursor are committed together."""
    number = task.cursor["number"] if task.cursor else 0

    def enter(session: Session) -> None:
        session.execute(text("INSERT INTO page VALUES (:number)"), {"number": number})

    for _ in range(PAGES):
        task.check()
        time.sleep(PAGE_SECONDS)  # as long as a bank takes to answer
        number += 1
        task.save({"number": number}, enter)
    return Report({"number": number}, f"{number} pages")


def work_as_replica(url: str, password: str | None, clock_ahead: float) -> None:
    """Be a replica whose clock is ``clock_ahead`` seconds ahead, until killed."""
    database = Database(url, SecretStr(password) if password else None)
    schedule = schedule_on(database, clock_ahead)
    job = RegisteredJob(JOB, f"every {TICK_SECONDS}s", schedule.ticks, count_pages)
    worker = Worker({JOB: job}, {JOB: schedule}, TracerProvider())
    Scheduler(schedule, worker.work).run()


def schedule_on(database: Database, clock_ahead: float = 0) -> Schedule:
    ticks = Interval(TICK_SECONDS)
    return Schedule(
        database,
        JOB,
        ticks=ticks,
        lease_seconds=LEASE_SECONDS,
        now=lambda: time.time() + clock_ahead,
    )


def _context() -> ForkServerContext:
    """Return what starts processes that have imported all of this already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@dataclass
class Replicas:
    """Processes that work on one database; each that is killed is followed by another."""

    url: str
    password: str | None
    clocks_ahead: tuple[float, ...]
    processes: list[ForkServerProcess] = field(default_factory=list)

    def start(self) -> None:
        """Start those that do not run."""
        for number, ahead in enumerate(self.clocks_ahead):
            if number < len(self.processes) and self.processes[number].is_alive():
                continue
            process = _context().Process(
                target=work_as_replica, args=(self.url, self.password, ahead)
            )
            process.start()
            self.processes[number : number + 1] = [process]

    def kill(self, owner: str) -> None:
        """Kill -9 the replica that ``owner`` names (`host:pid:…`)."""
        os.kill(_pid_in(owner), signal.SIGKILL)
        self._process(owner).join()

    @contextmanager
    def suspended(self, owner: str) -> Iterator[None]:
        """Let the replica that ``owner`` names stand still while the block runs."""
        os.kill(_pid_in(owner), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(_pid_in(owner), signal.SIGCONT)

    def stop(self) -> None:
        """Kill all of them."""
        for process in self.processes:
            process.kill()
            process.join()

    def _process(self, owner: str) -> ForkServerProcess:
        return next(process for process in self.processes if process.pid == _pid_in(owner))


def _pid_in(owner: str) -> int:
    return int(owner.split(":")[-2])
