"""Who may start a run over HTTP: whoever has the control token, and no web page but our own.

The token is the proof: it stands in the form, and no page of another origin knows it. A browser
also says where a request comes from, and one that comes from elsewhere is refused even with the
token, so that a page which got hold of it cannot use it from its visitors' machines. Names that
lead to this address by a rebound DNS are stopped before, by the trusted hosts.
"""

import hmac
from urllib.parse import parse_qsl, urlsplit

from flask import request
from pydantic import SecretStr

from shared.whole_body import whole_body

FIELD = "control_token"
FORM_TYPE = "application/x-www-form-urlencoded"
MOST_FIELDS = 20
NOT_SET = "no control token is set: the schedule and the command line alone start runs"


def refusal(control_token: SecretStr | None) -> str | None:
    """Return why the request under way may not start a run; None where it may.

    Raises BadRequest and RequestEntityTooLarge for a body that cannot be read whole.
    """
    if _comes_from_elsewhere():
        return "a page of another origin may not start a run"
    if control_token is None:
        return NOT_SET
    if not _is_same(_given_token(), control_token.get_secret_value()):
        return f"the form's {FIELD} is not the one that is set"
    return None


def wants_a_page() -> bool:
    """Tell whether the request is a browser's that would show the answer to a person."""
    accepted = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"]


def _given_token() -> str:
    """Return the token in the form; an empty text where there is no such form.

    It is not werkzeug's own reading of a form, which takes a body that broke off for a whole one.
    """
    if request.mimetype != FORM_TYPE:
        return ""
    form = whole_body(request).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(form, max_num_fields=MOST_FIELDS)).get(FIELD, "")
    except ValueError:  # more fields than that
        return ""


def _comes_from_elsewhere() -> bool:
    """Tell whether a browser says that a page of another origin sends this; programs say nothing.

    `none` is a person's own doing: no page had a part in it.
    """
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    return site not in {"same-origin", "none"} or (origin is not None and not _is_own(origin))


def _is_own(origin: str) -> bool:
    """Tell whether ``origin`` has our host and port; its scheme may be that of a proxy in front."""
    try:
        return urlsplit(origin).netloc == request.host
    except ValueError:
        return False


def _is_same(given: str, token: str) -> bool:
    """Compare in a time that does not tell how much of it was right; white space around falls."""
    return hmac.compare_digest(given.strip().encode(), token.strip().encode())
