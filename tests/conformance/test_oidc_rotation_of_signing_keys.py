"""OIDC Core §10.1.1: how the authorization server changes the key that it signs with."""

import time
from dataclasses import dataclass

import pytest

from tests.conformance.http_exchange import get_json
from tests.conformance.jwt_reading import read_jwt
from tests.conformance.token_requests import granted
from tests.conformance.under_test import AuthorizationServerUnderTest

DEADLINE_SECONDS = 60


@dataclass(frozen=True)
class Rotation:
    """The keys that were published right before a rotation and after it; who signed, who does."""

    published_before: frozenset[str]
    published_after: frozenset[str]
    old_kid: str
    new_kid: str


@pytest.fixture(scope="module")
def rotation(server: AuthorizationServerUnderTest) -> Rotation:
    """What a rotation looks like from outside; it is over when another key signs."""
    if server.rotate is None:
        pytest.skip("a way to rotate the server's keys was not given")
    old_kid, before = _signing(server), _published(server)
    server.rotate()
    end = time.monotonic() + DEADLINE_SECONDS
    while (new_kid := _signing(server)) == old_kid:
        assert time.monotonic() < end, "no other key signs after a rotation"
        time.sleep(0.2)
    return Rotation(before, _published(server), old_kid, new_kid)


def test_oidc_core_10_1_1_a_new_key_was_published_before_it_signs(rotation: Rotation) -> None:
    assert rotation.new_kid in rotation.published_before


def test_oidc_core_10_1_1_a_key_that_signed_stays_published(rotation: Rotation) -> None:
    assert rotation.old_kid in rotation.published_after


def _published(server: AuthorizationServerUnderTest) -> frozenset[str]:
    return frozenset(str(jwk["kid"]) for jwk in get_json(server.jwks_url)["keys"])


def _signing(server: AuthorizationServerUnderTest) -> str:
    return str(read_jwt(granted(server)["access_token"]).header["kid"])
