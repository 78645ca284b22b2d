"""A signed JWT taken apart, strictly and before anything in it counts (RFC 7515 §3.1, RFC 8725).

joserfc reads one as well, but passes over characters outside base64url, takes the last of two
members of one name, and has a TypeError for a `crit` that is no list.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LONGEST_JWT: Final = 8 * 1024


@dataclass(frozen=True, slots=True)
class SignedJwt:
    """The parts of a JWT whose signature nobody has verified yet."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def signed_jwt(text: str) -> SignedJwt:
    """Return the parts of ``text``; its size is judged before anything is parsed.

    Raises ValueError where it is no JWS in compact form that holds a JSON object.
    """
    if len(text) > LONGEST_JWT:
        raise ValueError(f"longer than {LONGEST_JWT} characters")
    segments = text.split(".")
    if len(segments) != 3:
        raise ValueError("not three segments")
    header, claims, signature = segments
    return SignedJwt(
        header=json_object(base64url_decoded(header)),
        claims=json_object(base64url_decoded(claims)),
        signing_input=f"{header}.{claims}".encode("ascii"),
        signature=base64url_decoded(signature),
    )


def base64url_decoded(text: str) -> bytes:
    """Return the octets of ``text``: base64url without padding, in its one canonical form.

    Raises ValueError where it is something else (RFC 7515 §2).
    """
    encoded = text.encode("ascii")
    decoded = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    if urlsafe_b64encode(decoded).rstrip(b"=") != encoded:
        raise ValueError("not base64url")
    return decoded


def json_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in ``data``, which is UTF-8 and names no member twice.

    Two parsers could read two things out of one that does (RFC 8725 §2.4, §3.7). Raises
    ValueError, for too deep a nesting too.
    """
    try:
        parsed = _JSON.decode(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")
    return parsed


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


# Made once: json.loads makes one each time it is given a hook.
_JSON: Final = json.JSONDecoder(object_pairs_hook=_members_once, parse_constant=_no_constant)
