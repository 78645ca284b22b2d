"""The servers of the comparison: a module starts each, and a folder holds what it needs."""

from bench.launch import Peer
from bench.peers.ours import OURS
from bench.peers.python_peers import AUTHLIB, AUTHLIB_WITH_ROWS, HELLO


def quick_peers() -> list[Peer]:
    """Return those that need nothing but Python."""
    return [*OURS, *AUTHLIB, HELLO]


def all_peers() -> list[Peer]:
    """Return all of them."""
    return [*OURS, *AUTHLIB, AUTHLIB_WITH_ROWS, HELLO]
