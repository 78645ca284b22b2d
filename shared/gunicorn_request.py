"""gunicorn's request, which does not parse again what most requests have in common.

The requests of a client differ in a few headers and their body. To take heads apart was a tenth of
what Python does for a token, and this spares more than half of it. Whatever did not come before,
gunicorn's own code judges, but for a line of plain credentials; nothing here refuses. A stranger
can fill what is remembered with what nobody else sends: then requests cost what they cost gunicorn.
"""

import re
from functools import lru_cache
from typing import Any, ClassVar, Final

from gunicorn.config import Config
from gunicorn.http.message import Request

MOST_LINES: Final = 64
LONGEST_LINE: Final = 256

_OFTEN_NEW: Final = (b"authorization:", b"traceparent:", b"x-forwarded-for:", b"x-forwarded-proto:")
"""How the headers begin that differ between the requests of a client, in small letters."""
_LONGEST_BEGINNING: Final = max(map(len, _OFTEN_NEW))
_USUAL: Final = frozenset(
    {
        "ACCEPT",
        "ACCEPT-ENCODING",
        "CONNECTION",
        "CONTENT-LENGTH",
        "CONTENT-TYPE",
        "HOST",
        "USER-AGENT",
    }
)
"""What is kept. None is a secret, and gunicorn judges each by itself; some may come only once."""

_PLAIN_CREDENTIALS: Final = re.compile(rb"[Aa]uthorization: ?([!-~]+(?: [!-~]+)*)")
"""Words of visible ASCII with one space between: gunicorn takes them so, unless too long."""

Header = tuple[str, str]


class RequestOfUsualLines(Request):
    """Knows the request lines and headers that came before, in its process."""

    usual: ClassVar[dict[bytes, Header]] = {}
    """By their lines; of one configuration, whose `secure_scheme_headers` name none of them."""

    def parse_request_line(self, line_bytes: bytes) -> None:
        """Take the request line apart; raises what gunicorn's own does.

        One with a query or a user is not kept: who does not know better puts a secret there.
        """
        if b"?" in line_bytes or b"@" in line_bytes or len(line_bytes) > LONGEST_LINE:
            super().parse_request_line(line_bytes)
        else:
            self.__dict__.update(_of_request_line(self.cfg, line_bytes))

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> list[Header]:
        """Return the headers in ``data``, their names in capitals; raises what gunicorn's own does.

        Two usual ones of one name mean something else together, so they go to gunicorn's own.
        """
        lines = data.split(b"\r\n")
        if from_trailer or len(lines) > self.limit_request_fields:
            judged: list[Header] = super().parse_headers(data, from_trailer)
            return judged
        known = list(map(self.usual.get, lines))
        new = [line for line, header in zip(lines, known, strict=True) if header is None]
        names = {header[0] for header in known if header is not None}
        if len(names) + len(new) == len(lines) and all(map(_is_often_new, new)):
            rest = iter(self._judged(new))
            return [header or next(rest) for header in known]
        judged = super().parse_headers(data)
        self._keep(lines, judged)
        return judged

    def _judged(self, new: list[bytes]) -> list[Header]:
        """Return the headers in ``new``; mostly that is one with credentials, and nothing to judge.

        gunicorn's own takes 5 µs for it, as long as it takes to know a token that came before.
        """
        if len(new) == 1 and len(new[0]) <= self.limit_request_field_size - len(b"\r\n"):
            plain = _PLAIN_CREDENTIALS.fullmatch(new[0])
            if plain:
                return [("AUTHORIZATION", plain[1].decode("ascii"))]
        judged: list[Header] = super().parse_headers(b"\r\n".join(new)) if new else []
        return judged

    def _keep(self, lines: list[bytes], headers: list[Header]) -> None:
        if len(lines) != len(headers):  # a line was part of another, or dropped
            return
        for line, header in zip(lines, headers, strict=True):
            if header[0] in _USUAL and len(line) <= LONGEST_LINE and line not in self.usual:
                if len(self.usual) >= MOST_LINES:
                    self.usual.clear()
                self.usual[line] = header


def _is_often_new(line: bytes) -> bool:
    return line[:_LONGEST_BEGINNING].lower().startswith(_OFTEN_NEW)


@lru_cache(maxsize=MOST_LINES)
def _of_request_line(cfg: Config, line: bytes) -> dict[str, Any]:
    """Return the attributes that gunicorn's own gives a request of this line."""
    request = object.__new__(Request)
    request.cfg = cfg  # nothing else is asked for
    request.parse_request_line(line)
    found: dict[str, Any] = request.__dict__
    return found
