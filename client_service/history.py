"""What is kept of old runs, and for how long."""

import logging
import time
from collections.abc import Callable

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from client_service.models import ArrowEvent, Run
from client_service.runs import RunStatus
from shared.database import Database

log = logging.getLogger(__name__)

DAY_SECONDS = 86_400
MOST_AT_ONCE = 200
"""Of each run that is entered: far more than one becomes old meanwhile, and deleted in a moment."""


class History:
    """Forgets the runs that began more than ``days`` ago, and their arrow events."""

    def __init__(self, database: Database, days: int, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._seconds = days * DAY_SECONDS
        self._now = now

    def forget(self) -> None:
        """Delete the oldest runs that are too old; where the database is busy, the next time."""
        try:
            with self._database.writing_if_free() as session:
                self._forget_the_oldest(session)
        except SQLAlchemyError as error:
            log.warning("old runs are deleted later: %s", type(error).__name__)

    def _forget_the_oldest(self, session: Session) -> None:
        old = (
            select(Run.id, Run.trace_id)
            .where(Run.started < self._now() - self._seconds, Run.status != RunStatus.RUNNING)
            .order_by(Run.started)
            .limit(MOST_AT_ONCE)
        )
        found = session.execute(old).all()
        if not found:
            return
        traces = [trace_id for _id, trace_id in found if trace_id]
        session.execute(delete(ArrowEvent).where(ArrowEvent.trace_id.in_(traces)))
        session.execute(delete(Run).where(Run.id.in_([run_id for run_id, _trace in found])))
