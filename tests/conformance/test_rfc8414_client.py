"""RFC 8414 at the client: whose metadata it believes."""

import pytest

from tests.conformance.client_runs import ClientUnderTest, Surroundings


@pytest.mark.parametrize(
    "form",
    ["{url}/", "https://other.example", None],
    ids=["with a slash", "another", "missing"],
)
def test_rfc8414_3_3_metadata_of_another_issuer_is_not_used(
    client_under_test: ClientUnderTest, around: Surroundings, form: str | None
) -> None:
    around.set_metadata(issuer=form and form.format(url=around.issuer.url))

    run = client_under_test.run(around)

    assert (run.error is None, around.token_requests) == (False, [])


def test_rfc8414_3_2_unknown_members_are_ignored(good_run: Surroundings) -> None:
    assert len(good_run.token_requests) == 1  # the metadata had one


def test_rfc8414_2_the_token_endpoint_is_where_the_metadata_has_it(
    good_run: Surroundings,
) -> None:
    assert [request.method for request in good_run.token_requests] == ["POST"]


def test_rfc6749_3_2_no_credentials_go_to_a_token_endpoint_without_tls(
    client_under_test: ClientUnderTest, around: Surroundings
) -> None:
    around.set_metadata(issuer=around.issuer.url, token_endpoint="http://203.0.113.1/token")

    run = client_under_test.run(around, CLIENT_SERVICE_TRANSPORT="tls-in-front")

    assert run.error is not None
    assert "invalid_metadata" in run.error  # not `no_answer`: nobody was asked there
