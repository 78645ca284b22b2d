"""Slows down who fails to authenticate, and never who succeeds (decision 6).

RFC 6749 §2.3.1: what takes a client's secret MUST be protected against brute force. Failures are
counted per client and address, and per address; past a limit a failure is answered 429 in place
of 401. A right secret is judged first and passes, from whatever address: so nobody can lock out a
good client. Never is a client counted alone, and one that is not registered counts like any other.

It is not what keeps a secret from being guessed: that are its 256 bits. Nor does it save the work
of a failure: only the check tells it from a success.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from auth_server.client_authentication.authenticated import AuthenticatedClient, Authentication
from auth_server.errors import InvalidClientError, TooManyFailuresError
from auth_server.registry import RegisteredClient
from auth_server.settings import AuthServerSettings
from auth_server.throttling.failure_counts import Failure, FailureCounts, Limits
from auth_server.throttling.memory import CountsInMemory
from auth_server.token_form import TokenForm

NETWORK_BITS = 64
NO_ADDRESS = "none"


@dataclass(frozen=True, slots=True)
class ThrottledAuthentication:
    """An authentication whose failures are counted. ``address`` tells where a request is from."""

    authentication: Authentication
    failures: FailureCounts
    address: Callable[[], str | None]

    def authenticate(self, form: TokenForm) -> AuthenticatedClient:
        """Return the client that ``form`` comes from; a success is not counted, nor looked up.

        Raises TooManyFailuresError (429) past a limit, and else what the authentication does.
        """
        try:
            return self.authentication.authenticate(form)
        except InvalidClientError as error:
            wait = self.failures.count(failure_of(error.client_id, self.address()))
            if wait > 0:
                raise TooManyFailuresError(error, math.ceil(wait)) from error
            raise

    def read_again(self, client: RegisteredClient) -> RegisteredClient:
        """Return ``client``, which is authenticated, as it is now."""
        return self.authentication.read_again(client)


def failure_counts(settings: AuthServerSettings) -> FailureCounts:
    """Return what counts failures: this process, or the Valkey that the settings name."""
    limits = Limits(
        settings.throttling_failures_per_client,
        settings.throttling_failures_per_address,
        settings.throttling_window_seconds,
    )
    in_memory = CountsInMemory(limits)
    if settings.throttling_url is None:
        return in_memory
    # Here, as its package is needed where it is used, and nowhere else.
    from auth_server.throttling.valkey import CountsInValkey, valkey_client

    client = valkey_client(settings.throttling_url, settings.throttling_password)
    return CountsInValkey(client, limits, instead=in_memory)


def failure_of(client_id: str | None, remote_address: str | None) -> Failure:
    """Return whose failure it is: of ``client_id``, as it was claimed, from ``remote_address``.

    As digests: what a stranger sends as its `client_id` may be long, and takes no more room.
    """
    address = counted_address(remote_address)
    client = _digest(f"{address} {client_id}") if client_id else None
    return Failure(_digest(address), client)


def counted_address(remote_address: str | None) -> str:
    """Return the address that failures from ``remote_address`` are counted under.

    Of IPv6 the first 64 bits, as whoever has one address there has all the others. What is no
    address (a Unix socket, a proxy that adds a port) is counted as one.
    """
    try:
        address = ip_address(remote_address or "")
    except ValueError:
        return NO_ADDRESS
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:  # a socket for both families shows IPv4 like this
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> NETWORK_BITS << NETWORK_BITS)}/{NETWORK_BITS}"


def _digest(text: str) -> str:
    # An assertion's `sub` comes out of JSON, where a lone surrogate is possible.
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
