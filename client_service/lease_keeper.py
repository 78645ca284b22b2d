"""Keeps a lease while its run goes on: renews it from a thread of its own."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from sqlalchemy.exc import SQLAlchemyError

from client_service.schedule import Lease, LeaseLostError, Schedule

log = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3


class LeaseKeeper:
    """Renews one lease, and knows when it is lost: to another worker, or as its time ran out."""

    def __init__(
        self, schedule: Schedule, lease: Lease, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._schedule, self._lease, self._now = schedule, lease, now
        self._renewed = now()
        self._over, self._lost = Event(), Event()

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Renew the lease while the block runs."""
        pause = self._schedule.lease_seconds / RENEWALS_PER_LEASE
        heart = Thread(target=self.keep, args=(lambda: self._over.wait(pause),), daemon=True)
        heart.start()
        try:
            yield
        finally:
            self._over.set()
            heart.join()

    def keep(self, over: Callable[[], bool]) -> None:
        """Renew the lease until ``over`` returns True (it pauses first), or it is lost."""
        while not self._lost.is_set() and not over():
            self._renew()

    def check(self) -> None:
        """Raise LeaseLostError where the run may not go on, as another one may be under way.

        It looks at the clock itself: a renewal may hang, or this process have been suspended.
        """
        if self._lost.is_set() or self._is_over_time():
            raise LeaseLostError(f"run {self._lease.run_id}: its lease is lost")

    def _renew(self) -> None:
        asked = self._now()
        try:
            self._schedule.renew(self._lease)
            self._renewed = asked
        except LeaseLostError as error:
            log.warning("%s", error)
            self._lost.set()
        except SQLAlchemyError as error:
            log.warning("could not renew the lease: %s", type(error).__name__)
            if self._is_over_time():
                self._lost.set()

    def _is_over_time(self) -> bool:
        return self._now() - self._renewed >= self._schedule.lease_seconds
