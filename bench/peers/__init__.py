"""The servers of the comparison: a module starts each, and a folder holds what it needs."""

from bench.launch import Peer
from bench.peers.keycloak import KEYCLOAK
from bench.peers.node import OIDC_PROVIDER
from bench.peers.ours import OURS
from bench.peers.python_peers import (
    AUTHLIB,
    AUTHLIB_WITH_ROWS,
    HELLO,
    HELLO_ON_OUR_WORKER,
    LEAST,
)
from bench.peers.spring import SPRING, SPRING_BCRYPT


def quick_peers() -> list[Peer]:
    """Return those that need nothing but Python."""
    return [*OURS, *AUTHLIB, HELLO, HELLO_ON_OUR_WORKER]


def token_peers() -> list[Peer]:
    """Return those of which each gives tokens, and each in its fastest form."""
    return [*OURS, OIDC_PROVIDER, SPRING, KEYCLOAK, *AUTHLIB]


def all_peers() -> list[Peer]:
    """Return all of them."""
    java = [SPRING, SPRING_BCRYPT, KEYCLOAK]
    hellos = [HELLO, HELLO_ON_OUR_WORKER]
    return [*OURS, OIDC_PROVIDER, *java, *AUTHLIB, AUTHLIB_WITH_ROWS, *LEAST, *hellos]
