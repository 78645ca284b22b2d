"""How a token request is repeated: with pauses that grow, for a bounded time, and seldom."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from client_service.token_messages import AccessToken, TokenError

FIRST_PAUSE_SECONDS = 0.5
MOST_TRIES = 6


class Repeating(Protocol):
    """What repeats a token request: `Retries`, or something around it that counts its tries."""

    def until_answered(self, ask: Callable[[], AccessToken]) -> AccessToken:
        """Return what ``ask`` returns; raise its TokenError where no repetition helps."""
        ...


@dataclass(frozen=True, slots=True)
class Retries:
    """Repeats what failed for a reason that may pass: no answer, a 5xx or a 429.

    No try begins later than ``seconds`` after the first, and there are six at most. A pause is of
    any length up to a longest one that doubles each time ("full jitter"), so that the clients of
    a server that comes back do not all come back with it.
    """

    seconds: float = 10
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform

    def until_answered(self, ask: Callable[[], AccessToken]) -> AccessToken:
        """Return what ``ask`` returns; raise its TokenError where no repetition helps or is left.

        A `Retry-After` makes a pause longer (RFC 9110 §10.2.3). One that leads past the end ends
        the tries at once: to ask before it is not wanted, to ask after it is not ours any more.
        """
        last_start = self.now() + self.seconds
        for failures in range(MOST_TRIES - 1):
            try:
                return ask()
            except TokenError as error:
                pause = self._pause(failures, error)
                if not error.is_temporary or self.now() + pause > last_start:
                    raise
            self.sleep(pause)
        return ask()

    def _pause(self, failures: int, error: TokenError) -> float:
        return max(self.uniform(0, FIRST_PAUSE_SECONDS * 2**failures), error.retry_after)
