"""The scheduler: takes the ticks of one job, one after the other, and has them worked on."""

import logging
from collections.abc import Callable
from threading import Event, Thread

from sqlalchemy.exc import SQLAlchemyError

from client_service.schedule import Lease, Schedule
from shared.health import NotReadyError

log = logging.getLogger(__name__)


class Scheduler:
    """Takes the ticks, from a thread of its own, and has each of them worked on.

    Each job has one: a long run holds up no other job.
    """

    def __init__(self, schedule: Schedule, work: Callable[[Lease], object]) -> None:
        self._schedule = schedule
        self._work = work
        self._stopped = Event()
        self._thread = Thread(target=self.run, name=f"scheduler of {schedule.job}", daemon=True)

    def start(self) -> None:
        """Start the thread: after the fork, as threads do not survive one."""
        self._thread.start()

    def take_no_more(self) -> None:
        """Take no further tick; what is under way goes on."""
        self._stopped.set()

    def stop(self, seconds: float) -> None:
        """Take no further tick, and wait up to ``seconds`` for the run under way."""
        self.take_no_more()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def check(self) -> None:
        """Raise NotReadyError where its thread has ended, and nobody had stopped it."""
        was_started, is_stopped = self._thread.ident is not None, self._stopped.is_set()
        if was_started and not is_stopped and not self._thread.is_alive():
            raise NotReadyError(f"the {self._thread.name} has ended")

    def run(self) -> None:
        """Take tick after tick until stopped."""
        pause = 0.0
        while not self._stopped.wait(pause):
            pause = self.turn()

    def turn(self) -> float:
        """Work on the tick that is due, if it can be taken; return the seconds to the next try."""
        try:
            lease = self._schedule.take_tick()
            if lease is not None:
                self._work(lease)
            return self._schedule.seconds_to_next_try()
        except SQLAlchemyError as error:
            log.warning("the schedule waits for its database: %s", type(error).__name__)
        except Exception:
            # A bug in one run must not end the schedule: it is logged whole, and the next tick
            # is tried.
            log.exception("a run ended in an error nobody expected")
        return self._schedule.retry_seconds
