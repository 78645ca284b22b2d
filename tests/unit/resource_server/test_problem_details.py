from collections.abc import Callable

import pytest
import yaml
from flask import Flask, abort, request
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from resource_server.app import OPENAPI
from resource_server.problem_details import ProblemType, answer_with_problem_details

Visit = Callable[..., TestResponse]


@pytest.fixture
def raised() -> list[Exception]:
    """What the view raises: the last of the list."""
    return []


@pytest.fixture
def visit(raised: list[Exception]) -> Visit:
    app = Flask("bare")
    app.config["MAX_CONTENT_LENGTH"] = 10
    answer_with_problem_details(app)

    @app.get("/")
    def view() -> str:
        raise raised[-1]

    @app.post("/body")
    def body() -> str:
        return request.get_data(as_text=True)

    @app.get("/abort")
    def aborted() -> str:
        abort(400, "limit must be a number")

    return app.test_client().open


@pytest.mark.parametrize(
    ("path", "method", "status", "title"),
    [
        pytest.param("/nowhere", "GET", 404, "Not Found", id="404"),
        pytest.param("/", "DELETE", 405, "Method Not Allowed", id="405"),
        pytest.param("/abort", "GET", 400, "Bad Request", id="400"),
    ],
)
def test_an_error_is_a_problem_document(
    path: str, method: str, status: int, title: str, visit: Visit
) -> None:
    answer = visit(path, method=method)
    problem = answer.get_json(force=True)

    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", title, status)
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_detail_is_what_the_view_says(visit: Visit) -> None:
    assert visit("/abort").get_json(force=True)["detail"] == "limit must be a number"


def test_a_method_that_is_not_allowed_is_told_which_are(visit: Visit) -> None:
    assert "GET" in visit("/", method="DELETE").headers["Allow"]


def test_a_body_that_is_too_large_is_answered_413(visit: Visit) -> None:
    assert visit("/body", method="POST", data=b"x" * 11).status_code == 413


def test_a_database_that_is_away_is_answered_503(visit: Visit, raised: list[Exception]) -> None:
    raised.append(OperationalError("SELECT 1", {}, Exception("gone")))
    answer = visit("/")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert (answer.mimetype, answer.headers["Cache-Control"]) == (
        "application/problem+json",
        "no-store",
    )
    assert b"SELECT" not in answer.data


def test_a_bug_is_answered_500_without_a_trace_and_logged(
    visit: Visit, raised: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    raised.append(ZeroDivisionError("secret thoughts"))
    answer = visit("/")

    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert b"secret thoughts" not in answer.data
    assert "secret thoughts" in caplog.text


def test_the_document_has_the_types_that_are_there() -> None:
    schemas = yaml.safe_load(OPENAPI.read_text())["components"]["schemas"]

    types = schemas["Problem"]["properties"]["type"]["enum"]
    assert set(types) == {"about:blank"} | {problem.uri for problem in ProblemType}
