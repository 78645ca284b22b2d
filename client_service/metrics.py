"""What this client counts, for Prometheus: its runs, and how it comes by its tokens."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from client_service.models import Job
from client_service.retries import Repeating
from client_service.runs import Outcome, RunStatus
from client_service.schedule import Lease
from client_service.token_messages import AccessToken, TokenError
from shared.database import Database
from shared.metrics import BoundedNames, Metrics

log = logging.getLogger(__name__)

RUN_BUCKETS_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
ENDS = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.INTERRUPTED)
ISSUED = "issued"
ERROR_CODES_BY_NAME = 30
"""An error code is the authorization server's invention: any further one is `other`."""

Ask = Callable[[], AccessToken]
Value = tuple[Sequence[str], float]


@dataclass(frozen=True, slots=True)
class HeldToken:
    """Of the token asked for last: when the request for it began, and when it ends."""

    began: float
    ends_at: float


class RunMetrics:
    """Counts the runs of this process; when a job succeeded last is read from the database."""

    def __init__(self, metrics: Metrics, database: Database, jobs: Iterable[str]) -> None:
        self._runs = metrics.counter(
            "client_service_runs_total", "Runs, by job and how they ended.", ["job", "outcome"]
        )
        self._seconds = metrics.durations(
            "client_service_run_seconds", "How long runs took.", ["job"], RUN_BUCKETS_SECONDS
        )
        self._merged = metrics.counter(
            "client_service_merged_ticks_total", "Missed ticks that a later run stood for.", ["job"]
        )
        self._findings = metrics.counter(
            "client_service_findings_total",
            "Runs that succeeded and found what somebody should look at.",
            ["job"],
        )
        metrics.read_when_asked(
            "client_service_last_success_timestamp_seconds",
            "When a run of the job succeeded last, in whatever process; absent before the first.",
            ["job"],
            lambda: _last_successes(database),
        )
        for job in jobs:
            self._begin_at_zero(job)

    def count(self, lease: Lease, outcome: Outcome) -> None:
        """Count a run that has ended here; one whose process was killed is counted by nobody."""
        self._runs.labels(lease.job, outcome.status).inc()
        self._seconds.labels(lease.job).observe(time.monotonic() - lease.taken_at)
        self._merged.labels(lease.job).inc(lease.merged_ticks)
        if outcome.report is not None and not outcome.report.is_well:
            self._findings.labels(lease.job).inc()

    def _begin_at_zero(self, job: str) -> None:
        """Show the series of ``job`` at once, so that its first run is seen to raise them."""
        self._seconds.labels(job)
        self._merged.labels(job)
        self._findings.labels(job)
        for outcome in ENDS:
            self._runs.labels(job, outcome)


class TokenMetrics:
    """Counts the token requests of a TokenSource; ``now`` is the clock that it has."""

    def __init__(self, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._held: HeldToken | None = None
        self._codes = BoundedNames(ERROR_CODES_BY_NAME)
        self._renewals = metrics.counter(
            "client_service_token_renewals_total",
            "Tokens asked for, by how it ended after all tries: issued, or the error code.",
            ["outcome"],
        )
        self._retries = metrics.counter(
            "client_service_token_retries_total",
            "Tries that repeat one that failed, by how they ended.",
            ["outcome"],
        )
        for counter in (self._renewals, self._retries):
            counter.labels(ISSUED)
        metrics.read_when_asked(
            "client_service_token_age_seconds",
            "How long ago the token in use was asked for; absent before the first.",
            [],
            lambda: [((), self._now() - held.began) for held in self._tokens()],
        )
        metrics.read_when_asked(
            "client_service_token_lifetime_seconds",
            "How old the token may become.",
            [],
            lambda: [((), held.ends_at - held.began) for held in self._tokens()],
        )

    def counted(self, ask: Ask, repeating: Repeating[AccessToken]) -> AccessToken:
        """Return what ``repeating`` makes of ``ask``; count its tries, and how they ended."""
        outcomes: list[str] = []

        def counted_try() -> AccessToken:
            began = self._now()
            try:
                token = ask()
            except TokenError as error:
                outcomes.append(self._codes.label(error.code))
                raise
            outcomes.append(ISSUED)
            self._held = HeldToken(began, token.ends_at)
            return token

        try:
            return repeating.until_answered(counted_try)
        finally:
            for outcome in outcomes[1:]:
                self._retries.labels(outcome).inc()
            for outcome in outcomes[-1:]:
                self._renewals.labels(outcome).inc()

    def _tokens(self) -> list[HeldToken]:
        """Return the token that was issued last, if there is one."""
        held = self._held
        return [] if held is None else [held]


@dataclass(frozen=True, slots=True)
class CountedRetries:
    """What repeats the requests of a TokenSource, and has its tries counted."""

    repeating: Repeating[AccessToken]
    metrics: TokenMetrics

    def until_answered(self, ask: Ask) -> AccessToken:
        """Return what ``ask`` returns, repeated as ``repeating`` does."""
        return self.metrics.counted(ask, self.repeating)


def _last_successes(database: Database) -> list[Value]:
    """Return when each job succeeded last; nothing where it can't be read, as 0 would be a lie."""
    try:
        with database.reading() as session:
            rows = session.execute(select(Job.name, Job.last_success)).all()
    except SQLAlchemyError as error:
        log.warning("the last successes cannot be read: %s", type(error).__name__)
        return []
    return [((name,), at) for name, at in rows if at is not None]
