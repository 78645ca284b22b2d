import pytest
from flask import Flask, Response
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.test import TestResponse

from shared.database_outage import answer_outages, is_outage

GONE = Exception("server closed the connection")


class PostgreSQLError(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__("relation does not exist")
        self.sqlstate = sqlstate


def invalidated(error: DBAPIError) -> DBAPIError:
    error.connection_invalidated = True
    return error


OUTAGES = [
    pytest.param(OperationalError("SELECT 1", {}, GONE), id="operational"),
    pytest.param(InterfaceError("SELECT 1", {}, GONE), id="interface"),
    pytest.param(PoolTimeoutError("all connections are in use"), id="pool"),
    pytest.param(invalidated(InternalError("SELECT 1", {}, GONE)), id="connection ended"),
    pytest.param(ProgrammingError("SELECT 1", {}, PostgreSQLError("42P01")), id="no schema yet"),
]
BUGS = [
    pytest.param(IntegrityError("INSERT", {}, Exception("a row twice")), id="integrity"),
    pytest.param(ProgrammingError("SELEKT", {}, PostgreSQLError("42601")), id="syntax"),
    pytest.param(SQLAlchemyError("misused"), id="SQLAlchemy's own"),
]


def answer_to(error: SQLAlchemyError) -> TestResponse:
    app = Flask("bare")
    answer_outages(app, lambda: Response("later", 503))

    @app.get("/")
    def view() -> str:
        raise error

    return app.test_client().get("/")


@pytest.mark.parametrize("error", OUTAGES)
def test_an_outage_is_answered_with_when_to_ask_again(error: SQLAlchemyError) -> None:
    answer = answer_to(error)

    assert is_outage(error) is True
    assert (answer.status_code, answer.text) == (503, "later")
    assert answer.headers["Retry-After"] == "2"


@pytest.mark.parametrize("error", BUGS)
def test_a_bug_is_no_outage(error: SQLAlchemyError) -> None:
    assert is_outage(error) is False
    assert answer_to(error).status_code == 500


def test_a_statements_values_do_not_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    answer_to(OperationalError("SELECT :iban", {"iban": "DE00"}, Exception("disk I/O error")))

    assert caplog.messages == ["database: OperationalError: disk I/O error"]
