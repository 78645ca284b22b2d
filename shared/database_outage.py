"""What a service answers while its database is away: 503, and when to ask again."""

import logging
from collections.abc import Callable

from flask import Flask, Response
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 2
NO_SUCH_TABLE = "42P01"  # PostgreSQL's code


def is_outage(error: SQLAlchemyError) -> bool:
    """Tell whether ``error`` says that the database cannot be used now, whatever is asked of it.

    A schema that is not there yet counts: SQLite calls that an OperationalError too. What a
    statement itself did wrong does not: that is a bug.
    """
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", "") == NO_SUCH_TABLE


def answer_outages(app: Flask, answer: Callable[[], Response]) -> None:
    """Let ``app`` answer what ``answer`` makes, with `Retry-After`, while its database is away."""
    app.register_error_handler(SQLAlchemyError, lambda error: unavailable(error, answer))


def unavailable(error: SQLAlchemyError, answer: Callable[[], Response]) -> Response:
    """Return what ``answer`` makes, with `Retry-After`; raise ``error`` where it is no outage.

    The log gets the cause, but no statement's values.
    """
    if not is_outage(error):
        raise error  # Flask logs it and answers 500
    log.error("database: %s: %s", type(error).__name__, getattr(error, "orig", error))
    response = answer()
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response
