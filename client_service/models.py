"""The client service's tables: jobs, their runs, and the arrow events of those runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, String, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from shared.database import insert_on


class Base(DeclarativeBase):
    """The tables of this service."""


class Job(Base):
    """A job: which tick was taken last and by whom, and how far it has come.

    A worker holds the job while `owner` is set and `lease_end` has not come; `fence` rises each
    time it is taken, so that one which was suspended past its lease can no longer commit.
    """

    __tablename__ = "job"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    last_due: Mapped[int | None] = mapped_column(BigInteger)
    """The due time of the tick taken last, in seconds since the epoch."""
    done_due: Mapped[int | None] = mapped_column(BigInteger)
    """The due time of the tick completed last."""
    owner: Mapped[str | None] = mapped_column(String(200))
    lease_end: Mapped[float | None] = mapped_column(Float)
    """When the owner's lease ends, by the database's clock."""
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    run_id: Mapped[str | None] = mapped_column(String(36))
    """The run that the owner works on."""
    cursor: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """How far the job has come, in a form of its own; None before it began."""
    last_success: Mapped[float | None] = mapped_column(Float)
    """When a run of it succeeded last: that outlives the run's own row."""


class Run(Base):
    """One run of a job."""

    __tablename__ = "run"
    __table_args__ = (
        Index("run_started", "started"),
        Index("run_started_of_job", "job", "started"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    job: Mapped[str] = mapped_column(String(64))
    trigger: Mapped[str] = mapped_column(String(16))
    due: Mapped[int | None] = mapped_column(BigInteger)
    """The tick that it is; None where it was asked for."""
    merged_ticks: Mapped[int] = mapped_column(BigInteger, default=0)
    """How many ticks before `due` were missed and are done by this run."""
    merged_since: Mapped[int | None] = mapped_column(BigInteger)
    """The first of them."""
    trace_id: Mapped[str | None] = mapped_column(String(32), index=True)
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(String(200))
    detail: Mapped[str | None] = mapped_column(Text)
    """How it ended, in a sentence."""
    started: Mapped[float] = mapped_column(Float)
    ended: Mapped[float | None] = mapped_column(Float)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What it came to, in the job's own form."""


class KeptPage(Base):
    """What a page of transactions was when the job read it: `page_digests.py` says what a page is.

    They are of the account that the job's cursor names, up to where it stands; a page beyond that
    is of a reading under way, or of an earlier account, and is replaced when it is read.
    """

    __tablename__ = "kept_page"

    job: Mapped[str] = mapped_column(String(64), primary_key=True)
    last: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """The number of the page's last transaction."""
    entry_sum: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(64))


class ArrowEvent(Base):
    """An arrow event of a run's trace; its key makes a second delivery harmless."""

    __tablename__ = "arrow_event"

    trace_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    span_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    time: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    service: Mapped[str] = mapped_column(String(64))
    fields: Mapped[dict[str, Any]] = mapped_column(JSON)


class database_time(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """The database's own clock, in seconds since the epoch: the one all replicas share."""

    type = Float()
    inherit_cache = True


@compiles(database_time)
def _database_time(_element: object, _compiler: SQLCompiler, **_options: object) -> str:
    return "extract(epoch from clock_timestamp())"


@compiles(database_time, "sqlite")
def _database_time_sqlite(_element: object, _compiler: SQLCompiler, **_options: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


def insert_if_absent(
    session: Session, table: type[Base], rows: Sequence[Mapping[str, object]]
) -> None:
    """Insert those of ``rows`` whose key is not there yet; a race between two is no error."""
    if not rows:
        return
    insert = insert_on(session.get_bind().dialect.name, table)
    session.execute(insert.on_conflict_do_nothing(), [dict(row) for row in rows])
