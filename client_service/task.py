"""What the function of a job is given for one run, and what it gives back."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Event
from typing import Any, Protocol

from sqlalchemy.orm import Session

Fields = Mapping[str, Any]
"""A JSON object: what a job keeps of itself has a form of its own."""


class StoppedError(Exception):
    """The process is stopping: the run ends after the page in hand."""


def pause_unless_stopped(stopping: Event) -> Callable[[float], None]:
    """Return what waits like `time.sleep`, but raises StoppedError once ``stopping`` is set."""

    def pause(seconds: float) -> None:
        if stopping.wait(seconds):
            raise StoppedError

    return pause


class Save(Protocol):
    """Commits how far the run has come, so that the one after a crash goes on from there."""

    def __call__(self, cursor: Fields, also: Callable[[Session], None] | None = None) -> None:
        """Commit ``cursor``, and what ``also`` writes, in one transaction under the fence.

        Raises LeaseLostError where another worker has the job by now; then nothing is committed.
        A dry run commits nothing and does not call ``also``.
        """


def _save_nothing(cursor: Fields, also: Callable[[Session], None] | None = None) -> None:
    """Save nothing, as a dry run does."""
    del cursor, also


@dataclass(frozen=True, slots=True)
class Task:
    """One run, as the function of its job sees it.

    A job that must not do a thing twice stores what it is about to do with `save` first, under a
    key made of its name and `due`; whoever goes on after a crash finds both in `cursor`.
    """

    cursor: Fields | None = None  # as the job saved it last; None before its first run
    due: int | None = None  # the tick; None where the run was asked for
    check: Callable[[], None] = lambda: None  # before each page: raises where the run has to end
    step: Callable[[str], AbstractContextManager[object]] = lambda _name: nullcontext()
    save: Save = _save_nothing


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to."""

    result: Fields
    sentence: str
    is_well: bool = True  # False: the run did its work, and found what somebody should look at
    cursor: Fields | None = None  # where the next run begins; None: where it was saved last


Work = Callable[[Task], Report]
