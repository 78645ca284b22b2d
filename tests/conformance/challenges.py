"""Reads a `WWW-Authenticate` header strictly, by the grammar of RFC 9110 §11.6.1."""

import re
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")(?:\s*,\s*|$)')
_SCHEME = re.compile(rf"({_TOKEN}) +")


@dataclass(frozen=True)
class Challenge:
    """A challenge: its scheme in lower case, and its parameters in their order."""

    scheme: str
    parameters: tuple[tuple[str, str], ...]

    def __getitem__(self, name: str) -> str:
        return dict(self.parameters)[name]

    def get(self, name: str) -> str | None:
        """Return the parameter ``name``; None where it is not there."""
        return dict(self.parameters).get(name)

    @property
    def names(self) -> list[str]:
        """The names of the parameters, each as often as it stands there."""
        return [name for name, _ in self.parameters]


def challenge_in(header: str | None) -> Challenge:
    """Return the one challenge in ``header``; fail where there is none, or more, or nonsense."""
    assert header is not None, "no WWW-Authenticate header"
    scheme = _SCHEME.match(header)
    assert scheme is not None, f"no scheme with parameters: {header!r}"
    parameters, position = [], scheme.end()
    while position < len(header):
        found = _PARAMETER.match(header, position)
        assert found is not None, f"no auth-param at {position} of {header!r}"
        name, token, quoted = found.groups()
        parameters.append((name.lower(), token if token is not None else quoted))
        position = found.end()
    return Challenge(scheme[1].lower(), tuple(parameters))
