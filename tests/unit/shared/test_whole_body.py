import io

import pytest
from flask import Request
from gunicorn.http.errors import InvalidChunkSize, NoMoreData
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.test import EnvironBuilder

from shared.whole_body import whole_body

LIMIT = 10


def request_with(stream: io.BytesIO, length: int | None) -> Request:
    """Return a request as gunicorn hands it over; without a length it came in chunks."""
    environ = EnvironBuilder("/", method="POST").get_environ()
    environ.pop("CONTENT_LENGTH", None)
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    environ |= {"wsgi.input": stream, "wsgi.input_terminated": True}
    return Request(environ)


class Broken(io.BytesIO):
    """A body that gunicorn cannot read to its end."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def read(self, _size: int | None = -1) -> bytes:
        raise self._error


@pytest.mark.parametrize("length", [3, None], ids=["with-its-length", "in-chunks"])
def test_a_body_is_read(length: int | None) -> None:
    assert whole_body(request_with(io.BytesIO(b"abc"), length), LIMIT) == b"abc"


def test_a_body_may_be_as_long_as_the_limit() -> None:
    assert whole_body(request_with(io.BytesIO(b"x" * LIMIT), LIMIT), LIMIT) == b"x" * LIMIT


def test_no_body_is_an_empty_one() -> None:
    assert whole_body(request_with(io.BytesIO(), None), LIMIT) == b""


@pytest.mark.parametrize("length", [LIMIT + 1, None], ids=["with-its-length", "in-chunks"])
def test_a_body_over_the_limit_is_refused_and_not_cut(length: int | None) -> None:
    with pytest.raises(RequestEntityTooLarge):
        whole_body(request_with(io.BytesIO(b"x" * (LIMIT + 1)), length), LIMIT)


def test_a_body_that_ends_before_its_length_is_refused() -> None:
    with pytest.raises(BadRequest, match="shorter"):
        whole_body(request_with(io.BytesIO(b"abc"), LIMIT), LIMIT)


@pytest.mark.parametrize(
    "error",
    [InvalidChunkSize(b"zz"), NoMoreData(b"ab"), BlockingIOError()],
    ids=lambda error: type(error).__name__,
)
def test_a_body_in_broken_chunks_is_refused(error: Exception) -> None:
    with pytest.raises(BadRequest, match="broken"):
        whole_body(request_with(Broken(error), None), LIMIT)
