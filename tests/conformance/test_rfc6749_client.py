"""RFC 6749 (and RFC 8707) at the client: how it asks for a token and takes the answer."""

import base64
from urllib.parse import unquote_plus

import pytest

from tests.conformance.client_runs import (
    CLIENT_ID,
    CLIENT_SECRET,
    TOKEN_PATH,
    ClientUnderTest,
    Surroundings,
)


def test_rfc6749_2_3_1_basic_credentials_are_form_encoded_before_base64(
    basic_run: Surroundings,
) -> None:
    (request,) = basic_run.token_requests
    (authorization,) = request.all_of("Authorization")
    scheme, _, encoded = authorization.partition(" ")

    pair = base64.b64decode(encoded, validate=True).decode("ascii").split(":")

    assert scheme == "Basic"
    assert [unquote_plus(part) for part in pair] == [CLIENT_ID, CLIENT_SECRET]


def test_rfc6749_2_3_1_credentials_in_the_body_arrive_whole(post_run: Surroundings) -> None:
    (request,) = post_run.token_requests
    form = dict(request.form)

    assert (form["client_id"], form["client_secret"]) == (CLIENT_ID, CLIENT_SECRET)


def test_rfc6749_2_3_one_mechanism_is_used_and_no_other(
    basic_run: Surroundings, post_run: Surroundings
) -> None:
    (by_header,), (by_body,) = basic_run.token_requests, post_run.token_requests

    assert "client_secret" not in dict(by_header.form)
    assert by_body.all_of("Authorization") == []


def test_rfc6749_2_3_1_no_credentials_stand_in_a_url(good_run: Surroundings) -> None:
    targets = {request.target for request in good_run.issuer.requests}

    assert {target for target in targets if "?" in target} == set()


def test_rfc6749_3_2_the_token_is_asked_for_by_post(good_run: Surroundings) -> None:
    assert [request.method for request in good_run.token_requests] == ["POST"]


def test_rfc6749_4_4_2_the_request_is_a_form(good_run: Surroundings) -> None:
    (request,) = good_run.token_requests
    (media_type,) = request.all_of("Content-Type")

    assert media_type.partition(";")[0] == "application/x-www-form-urlencoded"


def test_rfc6749_4_4_2_the_request_names_grant_and_scope(good_run: Surroundings) -> None:
    (request,) = good_run.token_requests
    form = dict(request.form)

    assert (form["grant_type"], form["scope"]) == ("client_credentials", "Read Write")


def test_rfc8707_2_the_request_names_the_resource(good_run: Surroundings) -> None:
    (request,) = good_run.token_requests

    assert dict(request.form)["resource"] == "https://api.example/a?b=c&d"


def test_rfc6749_3_2_no_parameter_is_sent_twice_or_empty(good_run: Surroundings) -> None:
    (request,) = good_run.token_requests
    names = [name for name, _ in request.form]

    assert sorted(set(names)) == sorted(names)
    assert [name for name, value in request.form if not value] == []


def test_rfc6749_5_1_unknown_members_of_the_answer_are_ignored(good_run: Surroundings) -> None:
    assert good_run.bank.requests != []  # the answer had one


def test_rfc6749_5_1_the_token_type_has_no_case_and_expires_in_may_be_missing(
    client_under_test: ClientUnderTest, around: Surroundings
) -> None:
    around.set_token_answer(token_type="BEARER", expires_in=None)

    assert client_under_test.run(around).error is None


@pytest.mark.parametrize("token_type", ["DPoP", None], ids=["DPoP", "missing"])
def test_rfc6749_7_1_a_token_of_an_unknown_type_is_not_used(
    client_under_test: ClientUnderTest, around: Surroundings, token_type: str | None
) -> None:
    around.set_token_answer(token_type=token_type)

    run = client_under_test.run(around)

    assert (run.error is None, around.bank.requests) == (False, [])


def test_rfc6749_5_2_a_refused_client_does_not_try_again(
    client_under_test: ClientUnderTest, around: Surroundings
) -> None:
    around.set_token_answer(401, error="invalid_client", access_token=None)

    run = client_under_test.run(around)

    assert run.error == "401 invalid_client"
    assert (len(around.token_requests), around.bank.requests) == (1, [])


def test_rfc6749_5_2_a_token_in_an_error_response_is_not_used(
    client_under_test: ClientUnderTest, around: Surroundings
) -> None:
    around.set_token_answer(400, error="invalid_scope")  # beside a token

    run = client_under_test.run(around)

    assert (run.error, around.bank.requests) == ("400 invalid_scope", [])


@pytest.mark.parametrize(
    ("status", "auth_method"), [(307, "client_secret_post"), (302, "client_secret_basic")]
)
def test_rfc6749_10_3_credentials_follow_no_redirect(
    client_under_test: ClientUnderTest, around: Surroundings, status: int, auth_method: str
) -> None:
    location = around.elsewhere.url + TOKEN_PATH
    around.set_token_answer(status, headers={"Location": location})

    run = client_under_test.run(around, CLIENT_SERVICE_AUTH_METHOD=auth_method)

    assert (run.error is None, around.elsewhere.requests) == (False, [])
