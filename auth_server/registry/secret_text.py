"""What a client secret looks like, and what is stored of it."""

import hashlib
import re
import secrets
import zlib
from collections.abc import Iterator

SECRET_PREFIX = "ccs_"  # noqa: S105 - how secret scanners know ours; no secret
SECRET_BYTES = 32
CHECKSUM_LENGTH = 6

SECRET_PATTERN = re.compile(r"ccs_[A-Za-z0-9_-]{43}[A-Za-z0-9]{6}")
"""What SECURITY.md gives to scanners; `has_checksum` tells a secret from other such text."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_secret() -> str:
    """Return a secret: a prefix, 256 random bits and a checksum, all of ``[A-Za-z0-9_-]``.

    Prefix and checksum let a secret scanner tell a leaked one from a random text (decision 5).
    """
    body = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    return body + _checksum(body)


def secret_hash(secret: str) -> str:
    """Return what is stored of ``secret``.

    A plain SHA-256: a slow hash protects what people choose, and these are 256 random bits
    (RFC 6749 §10.10).
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def has_checksum(text: str) -> bool:
    """Tell whether ``text`` ends in the checksum of what stands before it, as our secrets do.

    It does not tell whether anybody has, or ever had, that secret.
    """
    return _checksum(text[:-CHECKSUM_LENGTH]) == text[-CHECKSUM_LENGTH:]


def secrets_in(text: str) -> Iterator[str]:
    """Yield what in ``text`` is a secret by its form and checksum, wherever it stands."""
    for start in (match.start() for match in re.finditer(SECRET_PREFIX, text)):
        found = SECRET_PATTERN.match(text, start)
        if found and has_checksum(found.group()):
            yield found.group()


def _checksum(text: str) -> str:
    """Return the CRC-32 of ``text`` in base 62: 6 characters, as 62**6 is more than 2**32."""
    rest = zlib.crc32(text.encode())
    characters = ""
    for _ in range(CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(_DIGITS))
        characters = _DIGITS[digit] + characters
    return characters
