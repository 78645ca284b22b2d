"""Idempotency keys: a request that is sent again gets the answer of the first, and does nothing.

After draft-ietf-httpapi-idempotency-key-header-07, "The Idempotency-Key HTTP Header Field". The
answer is written in the transaction that did the work, so the two are there together or not at all.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from resource_server.models import RememberedAnswer
from shared.database import insert_on

HEADER: Final = "Idempotency-Key"
LONGEST_KEY: Final = 255
FORGOTTEN_AT_A_TIME: Final = 10
LOCK_NOT_AVAILABLE: Final = "55P03"  # PostgreSQL's code

# RFC 9651 §3.3.3, a string in quotes, is what the draft wants; a bare key is what many send.
_STRING = re.compile(r'"((?:[\x20\x21\x23-\x5B\x5D-\x7E]|\\["\\])+)"')
_BARE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~:/=@-]+")


class MalformedKeyError(ValueError):
    """The header has no key; the text says what it must be."""


class KeyReusedError(Exception):
    """The key was used for another request."""


class KeyInUseError(Exception):
    """The first request of this key is under way, and takes longer than we wait."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, and remembered: a status and a JSON document."""

    status: int
    fields: dict[str, Any]


def idempotency_key(header: str | None) -> str:
    """Return the key in ``header``; the same one with quotes and without (draft §2.1).

    Raises MalformedKeyError, for a header that is not there too.
    """
    text = (header or "").strip(" \t")
    string = _STRING.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", string[1]) if string else text
    if not (string or _BARE.fullmatch(text)) or len(key) > LONGEST_KEY:
        raise MalformedKeyError(f"the header {HEADER} must be 1 to {LONGEST_KEY} characters")
    return key


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """The right to do the work of a key, held until the transaction of ``session`` ends."""

    session: Session
    key_digest: str
    earlier: Answer | None
    """What was answered before; there is nothing left to do then."""

    def remember(self, answer: Answer) -> Answer:
        """Keep ``answer`` for whoever sends the same again; return it."""
        row = self.session.get_one(RememberedAnswer, self.key_digest)
        row.status, row.answer = answer.status, answer.fields
        return answer


def claim_key(
    session: Session,
    *,
    client_id: str,
    key: str,
    request_digest: str,
    now: datetime,
    ends_at: datetime,
) -> KeyClaim:
    """Claim ``key`` of ``client_id``, or return what was answered under it.

    While another transaction works on the key, this waits, for as long as the database lets one
    wait for a lock. The draft (§2.6) would have 409 at once, but who sends again after a time-out
    wants the answer.

    Raises KeyReusedError and KeyInUseError.
    """
    # A client's id is printable and has no NUL, so no two pairs are spelt alike.
    key_digest = hashlib.sha256(f"{client_id}\0{key}".encode()).hexdigest()
    row = {"key_digest": key_digest, "request_digest": request_digest, "ends_at": ends_at}
    if _is_new(session, row, now):
        return KeyClaim(session, key_digest, earlier=None)
    remembered = session.get_one(RememberedAnswer, key_digest)
    if remembered.request_digest != request_digest:
        raise KeyReusedError
    if remembered.status is None or remembered.answer is None:
        raise KeyInUseError
    return KeyClaim(session, key_digest, Answer(remembered.status, remembered.answer))


def forget_old_answers(session: Session, now: datetime) -> None:
    """Delete a few answers whose time has ended: more than a payment adds, and no more.

    Those that another transaction deletes are passed over, so nobody waits.
    """
    ended = (
        select(RememberedAnswer.key_digest)
        .where(RememberedAnswer.ends_at <= now)
        .order_by(RememberedAnswer.ends_at)
        .limit(FORGOTTEN_AT_A_TIME)
        .with_for_update(skip_locked=True)
    )
    session.execute(
        delete(RememberedAnswer)
        .where(RememberedAnswer.key_digest.in_(ended.scalar_subquery()))
        .execution_options(synchronize_session=False)
    )


def _is_new(session: Session, row: dict[str, Any], now: datetime) -> bool:
    """Insert ``row`` unless its key is there and its time has not ended; tell which it was."""
    statement = insert_on(session.get_bind().dialect.name, RememberedAnswer).values(row)
    statement = statement.on_conflict_do_update(
        index_elements=[RememberedAnswer.key_digest],
        set_={**row, "status": None, "answer": None},
        where=RememberedAnswer.ends_at <= now,
    )
    try:
        claimed = session.execute(statement.returning(RememberedAnswer.key_digest))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", "") == LOCK_NOT_AVAILABLE:
            raise KeyInUseError from error
        raise
    return claimed.first() is not None
