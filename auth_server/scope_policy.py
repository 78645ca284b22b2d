"""Which scopes, at which resource, a client is granted: decisions 1 and 3 as pure functions.

A request that names API scopes gets exactly those. One that names none, or `openid` alone, gets
all that the client has at the resource. `openid` is granted where it was asked for and the
client may have an id_token. One token is for one resource.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from authlib.oauth2.rfc6749.errors import InvalidScopeError

from auth_server.errors import InvalidTargetError
from shared.identifiers import OPENID

# RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,128}")
# RFC 3986 §4.3, absolute-URI: a scheme, then the characters of a URI; `#` is not among them.
_ABSOLUTE_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?:[\w.~:/?\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+", re.ASCII
)
_LONGEST_RESOURCE = 512


@dataclass(frozen=True, slots=True)
class ClientRights:
    """What a client may have at most.

    ``scopes`` are its API scopes by resource, each in the order its resource has them in.
    """

    scopes: Mapping[str, tuple[str, ...]]
    default_resource: str | None
    may_have_id_token: bool


@dataclass(frozen=True, slots=True)
class Granted:
    """What one token is granted: the audience, its scopes in order, and whether `openid` too."""

    resource: str
    api_scopes: tuple[str, ...]
    openid: bool

    @property
    def api_scope(self) -> str:
        """The `scope` of the access token: `openid` means nothing to an API (RFC 9068 §2.2.3)."""
        return " ".join(self.api_scopes)

    @property
    def scope(self) -> str:
        """The `scope` of the answer, always given (RFC 6749 §3.3): `openid` first."""
        return f"{OPENID} {self.api_scope}" if self.openid else self.api_scope


def grant(
    rights: ClientRights, scope: str | None, resources: Sequence[str], *, id_tokens: bool
) -> Granted:
    """Return what a request for ``scope`` at ``resources`` is granted.

    ``id_tokens`` tells whether this server issues id_tokens at all.
    Raises InvalidTargetError (RFC 8707 §2) and InvalidScopeError (RFC 6749 §5.2).
    """
    resource = _one_resource(rights, resources)
    asked = _scope_tokens(scope)
    allowed = rights.scopes[resource]
    if not asked <= {OPENID, *allowed}:
        raise InvalidScopeError("The client may not have a scope that it asks for.")
    if OPENID in asked and not (id_tokens and rights.may_have_id_token):
        raise InvalidScopeError("The client may not have an id_token.")
    api_scopes = tuple(name for name in allowed if name in asked) or allowed
    return Granted(resource, api_scopes, openid=OPENID in asked)


def is_scope_token(text: str) -> bool:
    """Tell whether ``text`` is one scope by the grammar of RFC 6749 §3.3, and not too long."""
    return _SCOPE_TOKEN.fullmatch(text) is not None


def is_resource_identifier(text: str) -> bool:
    """Tell whether ``text`` is an absolute URI without a fragment (RFC 8707 §2).

    It does not judge whether the parts of the URI are right for its scheme.
    """
    return len(text) <= _LONGEST_RESOURCE and _ABSOLUTE_URI.fullmatch(text) is not None


def _one_resource(rights: ClientRights, resources: Sequence[str]) -> str:
    if len(resources) > 1:
        raise InvalidTargetError("One token is for one resource.")
    if not resources:
        if rights.default_resource is None:  # it was taken from the client, and no other chosen
            raise InvalidTargetError("The client has no default resource: name one.")
        return rights.default_resource
    if not is_resource_identifier(resources[0]):
        raise InvalidTargetError("The resource is no absolute URI without fragment.")
    if resources[0] not in rights.scopes:
        raise InvalidTargetError("The client may have no token for this resource.")
    return resources[0]


@lru_cache(maxsize=128)  # there are far fewer than requests; a refusal is not kept
def _scope_tokens(scope: str | None) -> frozenset[str]:
    if scope is None:
        return frozenset()
    tokens = scope.split(" ")
    if not all(is_scope_token(token) for token in tokens):
        raise InvalidScopeError("The scope is malformed.")
    return frozenset(tokens)
