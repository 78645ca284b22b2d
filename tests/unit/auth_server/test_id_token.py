from auth_server.id_token import at_hash, id_token_claims


def test_subject_and_audience_are_the_client() -> None:
    claims = id_token_claims(
        issuer="http://localhost:9000",
        client_id="worker",
        access_token="a.b.c",
        issued_at=1000,
        lifetime_seconds=300,
    )
    assert claims == {
        "iss": "http://localhost:9000",
        "sub": "worker",
        "aud": "worker",
        "exp": 1300,
        "iat": 1000,
        "at_hash": at_hash("a.b.c"),
    }


def test_at_hash_is_that_of_the_example_in_oidc_core_appendix_a_3() -> None:
    token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    assert at_hash(token) == "77QmUPtjPfzWtF2AnpK9RQ"
