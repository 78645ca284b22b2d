"""The teller takes payments: each is booked once, however often it is asked for.

A client pays from every account that it sees, and to any account there is. An account to debit
that it was not given is refused exactly like one that does not exist (OWASP API1:2023). Whether an
account to credit exists cannot be hidden from who pays to it, as the money arrives or does not;
but nobody is told who could not have paid, and why an account takes no money nobody is told at all.

A refusal is remembered under the key as a payment is: who was told no can rely on it that no copy
of the request, delayed on its way, is booked once there is money. To try again takes a new key.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from resource_server.idempotency import (
    Answer,
    KeyInUseError,
    KeyReusedError,
    claim_key,
    forget_old_answers,
)
from resource_server.ledger import (
    CurrencyMismatchError,
    InsufficientFundsError,
    LedgerError,
    NotCreditableError,
    UnknownAccountError,
    default_account,
    post_transfer,
    visible_account,
)
from resource_server.models import Payment, Transfer
from resource_server.payment_order import PaymentOrder
from resource_server.problem_details import ProblemType
from shared.database import Database

REFUSALS: Final[Mapping[type[LedgerError], ProblemType]] = {
    UnknownAccountError: ProblemType.NO_SUCH_ACCOUNT,
    CurrencyMismatchError: ProblemType.CURRENCY_MISMATCH,
    InsufficientFundsError: ProblemType.INSUFFICIENT_FUNDS,
    NotCreditableError: ProblemType.NOT_CREDITABLE,
}


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Teller:
    """Books payments, and tells a client of its own."""

    database: Database
    keys_are_kept: timedelta
    now: Callable[[], datetime] = utc_now

    def pay(self, client_id: str, key: str, order: PaymentOrder) -> Answer:
        """Book ``order`` under ``key``, or refuse it; or answer what was answered before."""
        try:
            with self.database.writing() as session:
                return self._pay_once(session, client_id, key, order)
        except KeyReusedError:
            return _refusal(ProblemType.IDEMPOTENCY_KEY_REUSED, "this key had another body")
        except KeyInUseError:
            return _refusal(ProblemType.PAYMENT_UNDER_WAY, "send this again for its answer")

    def payment(self, client_id: str, payment_id: str) -> dict[str, Any] | None:
        """Return a payment that ``client_id`` made; None for any other."""
        mine = select(Payment, Transfer).join(Transfer, Payment.transfer_id == Transfer.id)
        mine = mine.where(Payment.id == payment_id, Payment.client_id == client_id)
        with self.database.reading() as session:
            row = session.execute(mine).first()
        return _fields(row[0], row[1]) if row else None

    def _pay_once(self, session: Session, client_id: str, key: str, order: PaymentOrder) -> Answer:
        now = self.now()
        claim = claim_key(
            session,
            client_id=client_id,
            key=key,
            request_digest=order.digest(),
            now=now,
            ends_at=now + self.keys_are_kept,
        )
        if claim.earlier:
            return claim.earlier
        forget_old_answers(session, now)
        return claim.remember(_judged(session, client_id, order, now))


def _judged(session: Session, client_id: str, order: PaymentOrder, now: datetime) -> Answer:
    try:
        transfer = _transfer(session, client_id, order, now)
    except LedgerError as error:
        return _refusal(REFUSALS[type(error)], str(error))
    session.flush()
    payment = Payment(id=secrets.token_hex(16), client_id=client_id, transfer_id=transfer.id)
    session.add(payment)
    return Answer(201, _fields(payment, transfer))


def _refusal(problem: ProblemType, detail: str) -> Answer:
    return Answer(problem.status, problem.document(detail))


def _transfer(session: Session, client_id: str, order: PaymentOrder, now: datetime) -> Transfer:
    if order.debit_account_id is None:
        debited = default_account(session, client_id)
    else:
        debited = visible_account(session, client_id, order.debit_account_id)
    if debited is None:
        raise UnknownAccountError("this client has no such account")
    return post_transfer(
        session,
        debit_account_id=debited.id,
        credit_account_id=order.credit_account_id,
        amount=order.amount,
        currency=order.currency,
        reference=order.reference,
        booked_at=now,
    )


def _fields(payment: Payment, transfer: Transfer) -> dict[str, Any]:
    """Return the payment; its number in the credited account is that account's own affair."""
    return {
        "payment_id": payment.id,
        "debit_account_id": transfer.debit_account_id,
        "credit_account_id": transfer.credit_account_id,
        "amount": transfer.amount,
        "currency": transfer.currency,
        "reference": transfer.reference,
        "sequence": transfer.debit_sequence,
        "booked_at": transfer.booked_at.isoformat(),
    }
