"""When a token is renewed before its end, so that nobody waits: by a timer, beside its callers."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import TIMEOUT_MAX, Lock, Timer
from typing import Protocol

from client_service.token_messages import AccessToken, TokenError

log = logging.getLogger(__name__)

PAUSE_SECONDS = 15  # between two tries to renew early
Work = Callable[[], None]


class WorksLater(Protocol):
    """What does the renewals: `DaemonTimer`, or a test's own."""

    def set(self, seconds: float, work: Work) -> None:
        """Have ``work`` done after ``seconds``, in place of what still waits to be done."""
        ...

    def stop(self) -> None:
        """Do nothing more: neither what waits, nor what is set from now on."""
        ...


@dataclass(slots=True)
class DaemonTimer:
    """Does one thing at a time, later, in a daemon thread: a process that ends does not wait.

    ``around`` is given the work to do it in a frame of its own, as a span.
    """

    around: Callable[[Work], None] = lambda work: work()
    _waiting: Timer | None = field(default=None, init=False, repr=False)
    _is_stopped: bool = field(default=False, init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def set(self, seconds: float, work: Work) -> None:
        """Have ``work`` done after ``seconds``, in place of what still waits to be done."""
        timer = Timer(min(seconds, TIMEOUT_MAX), self.around, (work,))
        timer.daemon, timer.name = True, "token renewal"
        with self._lock:
            if self._is_stopped:
                return
            self._cancel()
            self._waiting = timer
            # Where no thread is to be had, as in a process that ends, callers ask when it is time.
            with suppress(RuntimeError):
                timer.start()

    def stop(self) -> None:
        """Do nothing more: neither what waits, nor what is set from now on."""
        with self._lock:
            self._is_stopped = True
            self._cancel()

    def _cancel(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()


@dataclass(slots=True)
class EarlyRenewal:
    """Has a token renewed when it is due, if anybody asked for it since it was issued.

    So a client that asks seldom, but within each life, never waits; and one that asks no more
    lets the token end. While renewing fails the old token serves, and a pause lies between tries.
    """

    renew: Callable[[AccessToken], None]
    timer: WorksLater
    now: Callable[[], float]
    _is_used: bool = field(default=False, init=False)
    _next_try: float = field(default=0, init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def plan(self, token: AccessToken) -> None:
        """Watch ``token``, which was just issued, in place of the one before."""
        self._is_used, self._next_try = False, token.renew_at
        self._look_again(token, token.renew_at - self.now())

    def note_use(self, token: AccessToken) -> None:
        """Note that ``token`` was asked for; renew it where it is due and nobody is at it.

        That is one that nobody asked for till then, and one whose timer found no thread.
        """
        self._is_used = True
        if self._is_due():
            self.timer.set(0, partial(self._renew, token))

    def _look_again(self, token: AccessToken, seconds: float) -> None:
        self.timer.set(seconds, partial(self._renew_if_used, token))

    def _renew_if_used(self, token: AccessToken) -> None:
        if self._is_used and self.now() < token.ends_at and self._is_due():
            self._renew(token)

    def _is_due(self) -> bool:
        """Tell whether to try now, and tell nobody else so within the next pause."""
        now = self.now()
        if now < self._next_try:
            return False
        with self._lock:
            is_due = now >= self._next_try
            if is_due:
                self._next_try = now + PAUSE_SECONDS
            return is_due

    def _renew(self, token: AccessToken) -> None:
        try:
            self.renew(token)
        except TokenError as error:
            pause = max(PAUSE_SECONDS, error.retry_after)
            self._next_try = self.now() + pause
            log.warning("no new token yet, the old one serves until it ends: %s", error)
            if self.now() + pause < token.ends_at:
                self._look_again(token, pause)
