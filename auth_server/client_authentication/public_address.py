"""Which addresses are of the public internet, and so nothing within our own network.

Not known here: a public address that a network of the operator's routes to itself, and a NAT64
behind another prefix than the well-known one of RFC 6052.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # all that IANA gives out to networks
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1


def is_public(address: str) -> bool:
    """Tell whether ``address`` is public; raise ValueError where it is no IP address.

    Loopback, private, link-local, shared, multicast, reserved and documentation addresses are
    not. An IPv4 address within an IPv6 one (mapped, NAT64, 6to4) is judged as what it leads to.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        inner = _ipv4_within(ip)
        if inner is None:
            return ip in _GLOBAL_UNICAST and ip.is_global
        ip = inner
    return ip.is_global and not ip.is_multicast  # to Python, the two are not exclusive


def _ipv4_within(ip: IPv6Address) -> IPv4Address | None:
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour
