"""Requests to the two endpoints that take a token: introspection and revocation."""

from typing import Any
from urllib.parse import urlencode

from tests.conformance.http_exchange import Answer, form_headers, send
from tests.conformance.token_requests import basic
from tests.conformance.under_test import AuthorizationServerUnderTest, Client


def introspect(
    server: AuthorizationServerUnderTest,
    token: str,
    *parameters: tuple[str, str],
    client: Client | None,
) -> Answer:
    """Ask what ``token`` is (RFC 7662 §2.1); ``client`` None does not authenticate."""
    return post_token(server.introspection_url, token, *parameters, client=client)


def introspected(
    server: AuthorizationServerUnderTest, token: str, client: Client
) -> dict[str, Any]:
    """Return what the server says of ``token`` to ``client``."""
    answer = introspect(server, token, client=client)
    assert answer.status == 200, answer.body
    return answer.json()


def revoke(
    server: AuthorizationServerUnderTest,
    token: str,
    *parameters: tuple[str, str],
    client: Client | None,
) -> Answer:
    """Ask to end ``token`` (RFC 7009 §2.1); ``client`` None does not authenticate."""
    return post_token(server.revocation_url, token, *parameters, client=client)


def post_token(url: str, token: str, *parameters: tuple[str, str], client: Client | None) -> Answer:
    """POST a form of ``token`` and ``parameters``."""
    headers = form_headers() if client is None else form_headers(Authorization=basic(client))
    return send("POST", url, headers, urlencode([("token", token), *parameters]).encode())
