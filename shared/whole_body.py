"""The body of a request, read whole: a part of one could mean something else."""

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.sansio.utils import get_content_length

LONGEST_BODY_BYTES = 64 * 1024


def whole_body(request: Request, limit: int = LONGEST_BODY_BYTES) -> bytes:
    """Return the body, of ``limit`` bytes at most; it is not kept in ``request``.

    werkzeug cuts a chunked body at the limit in silence, and of a body that breaks off it returns
    what came; and its stream costs twenty times what reading does.

    Raises RequestEntityTooLarge, and BadRequest for a body that is not all there.
    """
    environ = request.environ
    length = get_content_length(
        environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING")
    )
    if length is None and not environ.get("wsgi.input_terminated"):
        return b""  # nobody knows where it would end
    if length is not None and length > limit:
        raise RequestEntityTooLarge
    try:
        body: bytes = environ["wsgi.input"].read(limit + 1 if length is None else length)
    except (ParseException, OSError) as error:  # chunks without form, or without an end
        raise BadRequest("the body is broken") from error
    if len(body) > limit:
        raise RequestEntityTooLarge
    if length is not None and len(body) < length:
        raise BadRequest("the body is shorter than its Content-Length")
    return body
