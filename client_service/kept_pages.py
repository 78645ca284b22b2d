"""The digests of the pages that a job has read, in the database."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from client_service.models import Job, KeptPage
from client_service.page_digests import PageDigest
from shared.database import Database


def keep_pages(session: Session, job: str, pages: Sequence[PageDigest]) -> None:
    """Write the digests of ``pages``; one that is read anew replaces what was kept of it."""
    for page in pages:
        row = KeptPage(job=job, last=page.last, entry_sum=page.entry_sum, digest=page.digest)
        session.merge(row)


def pages_kept(database: Database, job: str, after: int, until: int) -> list[PageDigest]:
    """Return the digests of the pages that end above ``after`` and up to ``until``, in order."""
    of_range = (KeptPage.job == job, KeptPage.last > after, KeptPage.last <= until)
    with database.reading() as session:
        rows = session.scalars(select(KeptPage).where(*of_range).order_by(KeptPage.last))
        return [PageDigest(row.last, row.entry_sum, row.digest) for row in rows]


def cursor_of(database: Database, job: str) -> Mapping[str, Any] | None:
    """Return how far ``job`` has come, in the form that it keeps; None before it began."""
    with database.reading() as session:
        return session.scalars(select(Job.cursor).where(Job.name == job)).first()
