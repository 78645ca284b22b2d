"""Origins: where a credential may go, and over which transport."""

from ipaddress import ip_address
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of ``url`` (RFC 6454 §4).

    Raises ValueError where its port or its bracketed host is none.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)


def is_https_or_loopback(url: str) -> bool:
    """Tell whether what is sent to ``url`` is encrypted, or stays on this machine."""
    scheme, host, _port = origin_of(url)
    return scheme == "https" or host == "localhost" or _is_loopback_address(host)


def _is_loopback_address(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
