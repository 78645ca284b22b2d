"""RFC 7523 (and RFC 7521, rfc7523bis) at the client: how it proves itself by a key."""

from typing import Any

from joserfc import jwt

from tests.conformance.client_runs import CLIENT_ID, CLIENT_SECRET, Surroundings
from tests.stack.issuer import signing_keys
from tests.stack.signing_client import ASSERTION_TYPE

LONGEST_LIFETIME_SECONDS = 300


def presented(run: Surroundings) -> jwt.Token:
    """Return the assertion of the one token request, its signature verified."""
    (request,) = run.token_requests
    return jwt.decode(dict(request.form)["client_assertion"], signing_keys()["ec"].pair)


def claims_of(run: Surroundings) -> dict[str, Any]:
    return presented(run).claims


def test_rfc7523_2_2_the_form_has_an_assertion_and_says_of_which_type(
    key_run: Surroundings,
) -> None:
    (request,) = key_run.token_requests
    form = dict(request.form)

    assert form["client_assertion_type"] == ASSERTION_TYPE
    assert presented(key_run).header["alg"] == "ES256"


def test_rfc6749_2_3_beside_an_assertion_there_is_no_secret(key_run: Surroundings) -> None:
    (request,) = key_run.token_requests

    assert request.all_of("Authorization") == []
    assert [value for _name, value in request.form if value == CLIENT_SECRET] == []


def test_rfc7523_3_issuer_and_subject_are_the_client(key_run: Surroundings) -> None:
    claims = claims_of(key_run)

    assert (claims["iss"], claims["sub"]) == (CLIENT_ID, CLIENT_ID)


def test_rfc7523bis_4_the_issuer_is_the_sole_audience_and_the_type_is_said(
    key_run: Surroundings,
) -> None:
    assert claims_of(key_run)["aud"] == key_run.issuer.url
    assert presented(key_run).header["typ"] == "client-authentication+jwt"


def test_rfc7523_3_the_assertion_lives_for_a_short_time_and_has_an_id(
    key_run: Surroundings,
) -> None:
    claims = claims_of(key_run)

    assert 0 < claims["exp"] - claims["iat"] <= LONGEST_LIFETIME_SECONDS
    assert len(claims["jti"]) >= 22  # 128 bits or more
