"""How a request is repeated: with pauses that grow, for a bounded time, and seldom.

For what may be sent twice: a token request, and a GET (RFC 9110 §9.2.2).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from typing import Protocol, TypeVar

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
MOST_TRIES = 6
LASTING_SERVER_ERRORS = {501, 505}  # not implemented, nor that version of HTTP: not by waiting

T = TypeVar("T")


class RequestFailedError(Exception):
    """A request came to nothing.

    ``code`` is an error code of the protocol, or `no_answer`: none came, or one that broke off.
    ``status`` is the answer's HTTP status, None where none came; ``retry_after`` the seconds
    that the server wants to be left alone, 0 where it did not say.
    """

    def __init__(
        self, code: str, detail: str, status: int | None = None, retry_after: float = 0
    ) -> None:
        super().__init__(f"{status or ''} {code}: {detail}".lstrip())
        self.code, self.detail, self.status = code, detail, status
        self.retry_after = retry_after

    @property
    def is_temporary(self) -> bool:
        """Tell whether the same request may fare better soon: after a 4xx only where it is 429."""
        if self.status is None:
            return self.code == "no_answer"
        failed_there = self.status >= 500 and self.status not in LASTING_SERVER_ERRORS
        return failed_there or self.status == 429


class Repeating(Protocol[T]):
    """What repeats a request: `Retries`, or something around it that counts its tries."""

    def until_answered(self, ask: Callable[[], T]) -> T:
        """Return what ``ask`` returns; raise its RequestFailedError where no repetition helps."""
        ...


@dataclass(frozen=True, slots=True)
class Retries:
    """Repeats what failed for a reason that may pass: no answer, a 5xx or a 429.

    No try begins later than ``seconds`` after the first, and there are six at most. A pause is of
    any length up to a longest one that doubles each time ("full jitter"), so that the clients of
    a server that comes back do not all come back with it: by the system's random numbers, so not
    by those of a program that seeds its own. ``sleep`` may raise, to end the tries.

    Only a ``failure`` is repeated: what another part has tried long enough is not tried again.
    """

    seconds: float = 10
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = SystemRandom().uniform
    failure: type[RequestFailedError] = RequestFailedError

    def until_answered(self, ask: Callable[[], T]) -> T:
        """Return what ``ask`` returns; raise its failure where no repetition helps or is left.

        A `Retry-After` makes a pause longer (RFC 9110 §10.2.3). One that leads past the end ends
        the tries at once: to ask before it is not wanted, to ask after it is not ours any more.
        """
        last_start = self.now() + self.seconds
        for failures in range(MOST_TRIES - 1):
            try:
                return ask()
            except self.failure as error:
                pause = self._pause(failures, error)
                if not error.is_temporary or self.now() + pause > last_start:
                    raise
                told = f"{error.status or ''} {error.code}".lstrip()
                log.warning("%s: try %d comes after %.1f s", told, failures + 2, pause)
            self.sleep(pause)
        return ask()

    def _pause(self, failures: int, error: RequestFailedError) -> float:
        return max(self.uniform(0, FIRST_PAUSE_SECONDS * 2**failures), error.retry_after)
