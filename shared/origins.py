"""Where a credential may go: over which transport."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_https_or_loopback(url: str) -> bool:
    """Tell whether what is sent to ``url`` is encrypted, or stays on this machine.

    Raises ValueError where its bracketed host is none.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" or host == "localhost" or _is_loopback_address(host)


def _is_loopback_address(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
