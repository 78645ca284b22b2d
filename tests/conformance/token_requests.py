"""Token requests as a client makes them, right or wrong, and how their answers are read."""

import base64
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote_plus, urlencode

from tests.conformance.http_exchange import Answer, form_headers, send
from tests.conformance.under_test import AuthorizationServerUnderTest, Client

GRANT = ("grant_type", "client_credentials")


def request_token(
    server: AuthorizationServerUnderTest,
    *parameters: tuple[str, str],
    client: Client | None = None,
    authorization: str | None = None,
    grant: Iterable[tuple[str, str]] = (GRANT,),
    query: str = "",
) -> Answer:
    """POST a form of ``grant`` and ``parameters``.

    ``client`` authenticates by HTTP Basic; ``authorization`` is a header of one's own instead.
    """
    if client is not None:
        authorization = basic(client)
    headers = form_headers() if authorization is None else form_headers(Authorization=authorization)
    form = urlencode([*grant, *parameters]).encode()
    return send("POST", server.token_url + (f"?{query}" if query else ""), headers, form)


def granted(
    server: AuthorizationServerUnderTest,
    *parameters: tuple[str, str],
    client: Client | None = None,
) -> dict[str, Any]:
    """Return what the server grants to ``client``, else to the one that may have everything."""
    answer = request_token(server, *parameters, client=client or server.client)
    assert answer.status == 200, answer.body
    return answer.json()


def scope_asked(server: AuthorizationServerUnderTest) -> tuple[str, str]:
    """Return the parameter that asks for all API scopes."""
    return ("scope", " ".join(server.scopes))


def in_the_body(client: Client) -> list[tuple[str, str]]:
    """Return the parameters of client_secret_post (RFC 6749 §2.3.1)."""
    return [("client_id", client.client_id), ("client_secret", client.client_secret)]


def basic(client: Client) -> str:
    """Return the Authorization header of client_secret_basic (RFC 6749 §2.3.1)."""
    return basic_header(f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}")


def basic_header(pair: str | bytes) -> str:
    """Return an Authorization header of HTTP Basic for exactly this ``id:secret``."""
    octets = pair.encode() if isinstance(pair, str) else pair
    return "Basic " + base64.b64encode(octets).decode()


def refusal(answer: Answer) -> tuple[int, object]:
    """Return status and error code of an answer of the token endpoint (RFC 6749 §5.2)."""
    return answer.status, answer.members().get("error")
