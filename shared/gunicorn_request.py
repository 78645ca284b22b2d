"""gunicorn's request, which does not parse again what most requests have in common.

A client's requests differ in their Authorization header and their body. To take the rest of the
head apart each time was a tenth of what Python does for a token. Whatever did not come before, or
means more to gunicorn than what it says, gunicorn's own code judges; nothing here refuses.
"""

from functools import lru_cache
from typing import Any, ClassVar, Final

from gunicorn.config import Config
from gunicorn.http.message import Request

MOST_LINES: Final = 64
LONGEST_LINE: Final = 256

_AUTHORIZATION: Final = b"authorization:"
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
"""What is kept: none of them is a secret, and each is judged alone as long as it comes once."""

Header = tuple[str, str]


class RequestOfUsualLines(Request):
    """Knows the request lines and headers that came before, in its process."""

    usual: ClassVar[dict[bytes, Header]] = {}

    def parse_request_line(self, line_bytes: bytes) -> None:
        """Take the request line apart; raises what gunicorn's own does.

        One with a query is not kept: who does not know better puts a secret there.
        """
        if b"?" in line_bytes or len(line_bytes) > LONGEST_LINE:
            super().parse_request_line(line_bytes)
        else:
            self.__dict__.update(_of_request_line(self.cfg, bytes(line_bytes)))

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> list[Header]:
        """Return the headers in ``data``, their names in capitals; raises what gunicorn's own does.

        Two of one name mean something else together, so they go to gunicorn's own.
        """
        if from_trailer:
            trailers: list[Header] = super().parse_headers(data, from_trailer)
            return trailers
        headers: list[Header] = []
        lines = data.split(b"\r\n")
        for line in lines:
            if (known := self.usual.get(line)) is not None:
                headers.append(known)
            elif line[: len(_AUTHORIZATION)].lower() == _AUTHORIZATION:
                headers += super().parse_headers(line)
            else:
                break
        names = {name for name, _ in headers}
        if len(names) == len(lines) <= self.limit_request_fields:
            return headers
        headers = super().parse_headers(data)
        self._keep(lines, headers)
        return headers

    def _keep(self, lines: list[bytes], headers: list[Header]) -> None:
        if len(lines) != len(headers):  # a line was part of another, or dropped
            return
        for line, header in zip(lines, headers, strict=True):
            if header[0] in _USUAL and len(line) <= LONGEST_LINE:
                if len(self.usual) >= MOST_LINES:
                    self.usual.clear()
                self.usual[line] = header


@lru_cache(maxsize=MOST_LINES)
def _of_request_line(cfg: Config, line: bytes) -> dict[str, Any]:
    """Return the attributes that gunicorn's own gives a request of this line."""
    request = object.__new__(Request)
    request.cfg = cfg
    request.parse_request_line(line)
    found: dict[str, Any] = request.__dict__
    return found
