"""The bank's tables: accounts, the transfers between them, payments, and who may see what.

Double entry is held by the database itself: a transfer is one row with the account it debits,
the account it credits and a positive amount, so neither side can be there without the other.
The entries of an account are a view of those rows (`entry`, made by the first migration).
"""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    column,
    table,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

LARGEST_AMOUNT: Final = 2**53 - 1
"""The largest integer that every JSON parser keeps exact (RFC 8259 §6)."""

EVERY_CLIENT: Final = "*"
"""In a row of access it stands for every client; no client's id, as ids have no asterisk."""

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC; SQLite keeps no zone, and PostgreSQL tells a time in that of its server."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Return ``value`` in UTC."""
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Return ``value`` in UTC, with its zone."""
        if value is None or value.tzinfo is None:
            return value and value.replace(tzinfo=UTC)
        return value.astimezone(UTC)


class Base(DeclarativeBase):
    """The declarative base of the bank's tables."""

    metadata = MetaData(naming_convention=NAMING)


class Account(Base):
    """An account, its balance, and the sequence number of the last entry in that balance."""

    __tablename__ = "account"
    __table_args__ = (
        UniqueConstraint("id", "currency"),
        CheckConstraint("balance >= lowest_balance", name="not_overdrawn"),
        CheckConstraint("last_sequence >= 0", name="sequence_not_negative"),
    )

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))
    currency: Mapped[str] = mapped_column(String(3))
    """ISO 4217, as `EUR`; balance and amounts are integers of its minor unit."""
    balance: Mapped[int] = mapped_column(BigInteger, default=0)
    last_sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    lowest_balance: Mapped[int | None] = mapped_column(BigInteger)
    """How low the balance may get; None: there is no limit."""


class Transfer(Base):
    """An amount that left one account and came into another.

    Each side has its number in the sequence of its account: 1, 2, 3 … without a gap.
    """

    __tablename__ = "transfer"
    __table_args__ = (
        # With the currency in the key, no transfer can join accounts of two currencies.
        ForeignKeyConstraint(["debit_account_id", "currency"], ["account.id", "account.currency"]),
        ForeignKeyConstraint(["credit_account_id", "currency"], ["account.id", "account.currency"]),
        UniqueConstraint("debit_account_id", "debit_sequence"),
        UniqueConstraint("credit_account_id", "credit_sequence"),
        CheckConstraint(f"amount BETWEEN 1 AND {LARGEST_AMOUNT}", name="amount_positive"),
        CheckConstraint("debit_account_id <> credit_account_id", name="two_accounts"),
    )

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    debit_account_id: Mapped[str] = mapped_column(String(128))
    debit_sequence: Mapped[int] = mapped_column(BigInteger)
    credit_account_id: Mapped[str] = mapped_column(String(128))
    credit_sequence: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    amount: Mapped[int] = mapped_column(BigInteger)
    booked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reference: Mapped[str] = mapped_column(String(140))


ENTRY = table(
    "entry",
    column("account_id", String),
    column("sequence", BigInteger),
    column("amount", BigInteger),
    column("counterparty", String),
    column("booked_at", UtcDateTime),
    column("reference", String),
)
"""The view of transfers as an account sees them: two rows each, the debit's amount negative."""


class Payment(Base):
    """A transfer that a client asked for, under the id by which the client reads it."""

    __tablename__ = "payment"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(Text)
    """As the token has it: an issuer's ids may have any length."""
    transfer_id: Mapped[int] = mapped_column(ForeignKey("transfer.id"), unique=True)


class RememberedAnswer(Base):
    """What was answered to a request under an idempotency key, until the key's time ends.

    Status and answer are NULL only within the transaction that works on it.
    """

    __tablename__ = "remembered_answer"

    key_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of client and key, in hex: both may be long, and neither is needed again."""
    request_digest: Mapped[str] = mapped_column(String(64))
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    status: Mapped[int | None]
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The document that was answered, its members in their order."""


class AccountAccess(Base):
    """The right of a client to an account; at most one of its accounts is its default.

    It sees the account with the scope `Read`, and pays from it with the scope `Write`.
    """

    __tablename__ = "account_access"

    client_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), primary_key=True)
    is_default: Mapped[bool] = mapped_column(default=False)


# Of the rows with `is_default` alone: the migration that makes it says so. Said here, for
# PostgreSQL, it would load a dialect that most do not use.
Index("uq_account_access_default", AccountAccess.client_id, unique=True)
