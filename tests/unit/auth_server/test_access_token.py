from typing import Any

from auth_server.access_token import access_token_claims
from auth_server.scope_policy import Granted


def claims() -> dict[str, Any]:
    return access_token_claims(
        issuer="http://localhost:9000",
        client_id="worker",
        granted=Granted("http://localhost:9001", ("Read", "Write"), openid=True),
        issued_at=1000,
        lifetime_seconds=300,
    )


def test_the_claims_are_those_of_rfc_9068_and_no_more() -> None:
    made = claims()
    made.pop("jti")
    assert made == {
        "iss": "http://localhost:9000",
        "exp": 1300,
        "aud": "http://localhost:9001",
        "sub": "worker",
        "client_id": "worker",
        "iat": 1000,
        "scope": "Read Write",
    }


def test_each_token_has_a_jti_of_its_own() -> None:
    assert claims()["jti"] != claims()["jti"]
