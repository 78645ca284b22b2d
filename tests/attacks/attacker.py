"""What every attacker of these stories has: a key pair and a web server of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.stack.issuer import OwnIssuer


@contextmanager
def attacker_of(issuer: OwnIssuer) -> Iterator[OwnIssuer]:
    """Run an attacker who knows of ``issuer`` what is public, and none of its private keys.

    The attacker's own key is named `ec`, as one of the issuer's is.
    """
    with OwnIssuer(issuer.audience) as attacker:
        attacker.add_key("ec")
        attacker.keys = {"ec": attacker.keys["ec"]}
        attacker.published = ["ec"]
        yield attacker
