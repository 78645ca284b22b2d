"""Servers that somebody else runs, as `CONFORMANCE_…` in the environment names them.

README.md explains each variable.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joserfc.jwk import import_key

from tests.conformance.http_exchange import get_json, send, well_known_url
from tests.conformance.under_test import (
    AuthorizationServerUnderTest,
    Client,
    OtherResource,
    ResourceServerUnderTest,
)
from tests.stack.issuer import OwnIssuer, SigningKey
from tests.stack.signing_client import SigningClient

PREFIX = "CONFORMANCE_"


def an_authorization_server_is_given() -> bool:
    """Tell whether `CONFORMANCE_ISSUER` names one."""
    return _value("ISSUER") is not None


def given_authorization_server() -> AuthorizationServerUnderTest:
    """Return the authorization server that `CONFORMANCE_ISSUER` names."""
    issuer = _required("ISSUER")
    client = _client("CLIENT")
    assert client is not None, "CONFORMANCE_CLIENT_ID and CONFORMANCE_CLIENT_SECRET are needed"
    return AuthorizationServerUnderTest(
        issuer=issuer,
        metadata=_metadata(issuer),
        resource=_required("RESOURCE"),
        scopes=tuple(_required("SCOPES").split()),
        client=client,
        issues_id_tokens=_value("ID_TOKENS") != "no",
        narrow_client=_client("NARROW_CLIENT"),
        client_without_id_token=_client("NO_ID_TOKEN_CLIENT"),
        disabled_client=_client("DISABLED_CLIENT"),
        other_resource=_other_resource(),
        signing_client=_signing_client(issuer),
        resource_server=_client("RESOURCE_SERVER"),
    )


def a_resource_server_is_given() -> bool:
    """Tell whether `CONFORMANCE_RESOURCE_URL` names one."""
    return _value("RESOURCE_URL") is not None


@contextmanager
def given_resource_server() -> Iterator[ResourceServerUnderTest]:
    """Run the tests' own issuer on the port that the given resource server knows it by."""
    with OwnIssuer(audience=_required("RESOURCE")) as issuer:
        issuer.stop()  # it chose a port of its own
        issuer.port = int(_required("OWN_ISSUER_PORT"))
        issuer.url = f"http://127.0.0.1:{issuer.port}"
        issuer.restart()
        yield ResourceServerUnderTest(
            _required("RESOURCE_URL"), _required("RESOURCE_SCOPE"), issuer
        )


def _metadata(issuer: str) -> dict[str, object]:
    openid_url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    answer = send("GET", openid_url)
    if answer.status == 200:
        return answer.json()
    return get_json(well_known_url(issuer, "oauth-authorization-server"))


def _other_resource() -> OtherResource | None:
    identifier, client = _value("OTHER_RESOURCE"), _client("OTHER_CLIENT")
    if identifier is None or client is None:
        return None
    return OtherResource(identifier, tuple(_required("OTHER_SCOPES").split()), client)


def _signing_client(issuer: str) -> SigningClient | None:
    client_id, file = _value("SIGNING_CLIENT_ID"), _value("SIGNING_CLIENT_JWKS")
    if client_id is None or file is None:
        return None
    jwks = json.loads(Path(file).read_text())["keys"]
    keys = {jwk["kid"]: SigningKey(jwk["kid"], jwk["alg"], import_key(jwk)) for jwk in jwks}
    return SigningClient(client_id, issuer, keys)


def _client(name: str) -> Client | None:
    client_id, secret = _value(f"{name}_ID"), _value(f"{name}_SECRET")
    return Client(client_id, secret) if client_id and secret else None


def _required(name: str) -> str:
    value = _value(name)
    assert value is not None, f"{PREFIX}{name} is needed"
    return value


def _value(name: str) -> str | None:
    return os.environ.get(f"{PREFIX}{name}") or None
