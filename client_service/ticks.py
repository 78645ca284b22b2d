"""When a job is due: at the multiples of an interval, or as a cron expression says.

A tick is a moment by the wall clock, in whole seconds since the epoch: it does not depend on when
a process started, so all replicas mean the same by it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Protocol

from cronsim import CronSim, CronSimError

NEVER = "never"
CRON_FIELDS = 5
LONGEST_INTERVAL_SECONDS = 366 * 86_400

_INTERVAL = re.compile(r"every ([0-9]{1,9}) ?([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Missed:
    """Ticks that nobody completed: how many, and the first of them."""

    count: int = 0
    since: int | None = None


NONE_MISSED = Missed()


class Ticks(Protocol):
    """The moments at which a job is due."""

    def due(self, now: float) -> int:
        """Return the last tick that is not after ``now``."""

    def following(self, now: float) -> int:
        """Return the first tick after ``now``."""

    def missed(self, done: int, due: int) -> Missed:
        """Return the ticks between ``done`` and ``due``, without the two."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The multiples of ``seconds`` since the epoch."""

    seconds: int

    def due(self, now: float) -> int:
        """Return the last multiple that is not after ``now``."""
        return int(now // self.seconds * self.seconds)

    def following(self, now: float) -> int:
        """Return the first multiple after ``now``."""
        return self.due(now) + self.seconds

    def missed(self, done: int, due: int) -> Missed:
        """Return the multiples between ``done`` and ``due``; the interval may have changed."""
        first = self.following(done)
        return Missed((due - first) // self.seconds, first) if first < due else NONE_MISSED


@dataclass(frozen=True, slots=True)
class Cron:
    """The moments of a cron expression of five fields, by the clocks of ``zone``.

    Where these are put forward or back, it does as Debian's cron: a job at a time of day runs once
    that day, one that is due every hour or more often runs as the hours pass.
    """

    expression: str
    zone: tzinfo = UTC

    def due(self, now: float) -> int:
        """Return the last moment that is not after ``now``."""
        return next(self._backwards(int(now) + 1))

    def following(self, now: float) -> int:
        """Return the first moment after ``now``."""
        return _seconds(next(CronSim(self.expression, self._at(int(now)))))

    def missed(self, done: int, due: int) -> Missed:
        """Return the moments between ``done`` and ``due``; the expression may have changed.

        Counts a hundred thousand in less than a second or two: nothing to be done in a transaction.
        """
        count, since = 0, None
        for tick in self._backwards(due):
            if tick <= done:
                break
            count, since = count + 1, tick
        return Missed(count, since)

    def _backwards(self, before: int) -> Iterator[int]:
        return map(_seconds, CronSim(self.expression, self._at(before), reverse=True))

    def _at(self, seconds: int) -> datetime:
        return datetime.fromtimestamp(seconds, self.zone)


def ticks_in(schedule: str, zone: tzinfo = UTC) -> Ticks | None:
    """Return the ticks that ``schedule`` names; None for `never`.

    It is an interval (`every 60s`, `every 5m`, `every 2h`, `every 1d`), or a cron expression
    (`0 3 * * SUN`). Raises ValueError where it is neither, or is one that never comes.
    """
    if schedule == NEVER:
        return None
    if schedule.startswith("every"):
        return _interval_in(schedule)
    if len(schedule.split()) != CRON_FIELDS:
        raise ValueError("must be `every 60s`, a cron expression of five fields, or `never`")
    return _cron_in(schedule, zone)


def _interval_in(schedule: str) -> Interval:
    match = _INTERVAL.fullmatch(schedule)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= LONGEST_INTERVAL_SECONDS:
        raise ValueError("must be `every`, a number, and s, m, h or d: from 1 second to 366 days")
    return Interval(seconds)


def _cron_in(schedule: str, zone: tzinfo) -> Cron:
    cron = Cron(schedule, zone)
    try:
        cron.due(datetime.now(UTC).timestamp())
        cron.following(datetime.now(UTC).timestamp())
    except CronSimError as error:
        raise ValueError(
            f"is no cron expression: {str(error)[:1].lower()}{str(error)[1:]}"
        ) from error
    except StopIteration:
        raise ValueError("is a cron expression that never comes") from None
    return cron


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
