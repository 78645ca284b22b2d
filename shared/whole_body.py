"""The body of a request, read whole: a part of one could mean something else."""

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge


def whole_body(request: Request) -> bytes:
    """Return the body; it is not kept in ``request``.

    werkzeug refuses a `Content-Length` over the limit, but cuts a chunked body there in silence;
    and of a body that breaks off it returns what came.

    Raises RequestEntityTooLarge, and BadRequest for a body that is not all there.
    """
    try:
        body = request.get_data(cache=False)
    except ParseException as error:  # chunks without form: gunicorn reads them as we do
        raise BadRequest("the body is broken") from error
    length, limit = request.content_length, request.max_content_length
    if length is None and limit is not None and len(body) >= limit:
        raise RequestEntityTooLarge
    if length is not None and len(body) != length:
        raise BadRequest("the body is shorter than its Content-Length")
    return body
