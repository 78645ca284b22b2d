"""The body of a request, read whole: a part of one could mean something else."""

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge


def whole_body(request: Request) -> bytes:
    """Return the body, read from the server's stream; it is not kept in ``request``.

    werkzeug cuts a chunked body at the limit in silence, and of a body that breaks off it returns
    what came; and its stream costs twenty times what reading does.

    Raises RequestEntityTooLarge, and BadRequest for a body that is not all there.
    """
    length, limit = request.content_length, request.max_content_length
    if length is None and not request.environ.get("wsgi.input_terminated"):
        return b""  # nobody knows where it would end
    if length is not None and limit is not None and length > limit:
        raise RequestEntityTooLarge
    try:
        most = length if limit is None or length is not None else limit + 1
        body: bytes = request.environ["wsgi.input"].read(most)
    except (ParseException, OSError) as error:  # chunks without form, or without an end
        raise BadRequest("the body is broken") from error
    if length is None and limit is not None and len(body) > limit:
        raise RequestEntityTooLarge
    if length is not None and len(body) < length:
        raise BadRequest("the body is shorter than its Content-Length")
    return body
