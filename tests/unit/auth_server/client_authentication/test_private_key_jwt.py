from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from auth_server.client_authentication.client_keys import ClientKeys, KeepingRules
from auth_server.client_authentication.private_key_jwt import (
    AssertionCheck,
    AssertionRules,
    ClientAssertion,
    client_assertion,
)
from auth_server.client_authentication.used_assertions import UsedAssertions
from auth_server.client_jwks import inline_jwks
from auth_server.errors import InvalidClientError
from auth_server.registry import RegisteredClient
from auth_server.scope_policy import ClientRights
from shared.database import Database
from tests.stack.issuer import ABSENT, OwnIssuer, base64url, signing_keys
from tests.stack.signing_client import SigningClient, assertion_parameters
from tests.unit.auth_server.running import Clock

ISSUER = "https://issuer.example"
RULES = AssertionRules({ISSUER}, longest_lifetime_seconds=300, leeway_seconds=10)
RIGHTS = ClientRights({}, None, may_have_id_token=False)


@pytest.fixture
def signer(clock: Clock) -> SigningClient:
    return SigningClient("signer", ISSUER, signing_keys(), clock)


@pytest.fixture
def check(clock: Clock) -> AssertionCheck:
    """A check without tables to remember what was used."""
    keys = ClientKeys(lambda _uri: {}, KeepingRules(300, 10, 3600), clock)
    return AssertionCheck(RULES, keys, UsedAssertions(Database("sqlite://"), clock), clock)


@pytest.fixture
def remembering_check(
    check: AssertionCheck, empty_database: Database, clock: Clock
) -> AssertionCheck:
    return replace(check, used=UsedAssertions(empty_database, clock))


def registered(signer: SigningClient, *kids: str, disabled: bool = False) -> RegisteredClient:
    jwks = inline_jwks(signer.jwks(*kids)).jwks
    return RegisteredClient("signer", "private_key_jwt", disabled, RIGHTS, (), jwks)


def presented(signer: SigningClient, **changes: Any) -> ClientAssertion:
    return client_assertion(assertion_parameters(signer.assertion(**changes)))


def reason_of(act: Callable[[], object]) -> str:
    with pytest.raises(InvalidClientError) as refused:
        act()
    assert refused.value.description == "Client authentication failed."
    return refused.value.reason


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
def test_a_good_assertion_passes_all_three_steps(
    remembering_check: AssertionCheck, signer: SigningClient, kid: str
) -> None:
    check = remembering_check
    assertion = presented(signer, kid=kid)
    check.judge_claims(assertion)
    client = registered(signer)
    assert assertion.client_id == "signer"
    assert (check.is_signed_by(client, assertion), check.is_first_use(assertion)) == (True, True)


def test_an_assertion_is_used_once(
    remembering_check: AssertionCheck, signer: SigningClient
) -> None:
    assertion = presented(signer)
    uses = [remembering_check.is_first_use(assertion) for _ in range(2)]
    assert uses == [True, False]


@pytest.mark.parametrize(
    "changes",
    [{"client_assertion_type": ""}, {"client_assertion_type": "jwt-bearer"},
     {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
     {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer "},
     {"client_assertion": ""}, {"client_assertion": "a.b.c"}, {"client_id": "other"}],
    ids=lambda changes: " ".join(map(str, changes.items())),
)  # fmt: skip
def test_a_form_without_an_assertion_of_one_client_is_refused(
    signer: SigningClient, changes: dict[str, str]
) -> None:
    parameters = {**assertion_parameters(signer.assertion()), **changes}
    assert reason_of(lambda: client_assertion(parameters)) != ""


def test_the_client_id_in_the_body_may_be_that_of_the_assertion(signer: SigningClient) -> None:
    parameters = assertion_parameters(signer.assertion(), client_id="signer")
    assert client_assertion(parameters).client_id == "signer"


@pytest.mark.parametrize(
    "claims",
    [{"iss": "other"}, {"sub": "other"}, {"iss": ABSENT}, {"sub": ABSENT}, {"sub": 7, "iss": 7},
     {"sub": "", "iss": ""}, {"sub": ["signer"], "iss": ["signer"]},
     {"sub": "\ud800", "iss": "\ud800"}, {"sub": "a\x00", "iss": "a\x00"}],
    ids=ascii,
)  # fmt: skip
def test_iss_and_sub_are_the_client(signer: SigningClient, claims: dict[str, Any]) -> None:
    assert reason_of(lambda: presented(signer, claims=claims)) != ""


@pytest.mark.parametrize("audience", [ISSUER, [ISSUER]], ids=["text", "array of one"])
def test_the_issuer_is_the_audience(
    check: AssertionCheck, signer: SigningClient, audience: object
) -> None:
    check.judge_claims(presented(signer, claims={"aud": audience}))


@pytest.mark.parametrize(
    "audience",
    [ABSENT, None, "", [], {}, 7, f"{ISSUER}/", f"{ISSUER}/oidc/token", [f"{ISSUER}/oidc/token"],
     [ISSUER, f"{ISSUER}/oidc/token"], [ISSUER, ISSUER], [[ISSUER]], "HTTPS://ISSUER.EXAMPLE"],
    ids=ascii,
)  # fmt: skip
def test_any_other_audience_or_more_than_one_is_refused(
    check: AssertionCheck, signer: SigningClient, audience: object
) -> None:
    assertion = presented(signer, claims={"aud": audience})
    assert "aud" in reason_of(lambda: check.judge_claims(assertion))


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1}, {"exp": -9}, {"exp": 59.5, "iat": ABSENT}, {"exp": 310}, {"nbf": 10}, {"iat": 10},
     {"iat": -86400}, {"iat": ABSENT}],
    ids=ascii,
)  # fmt: skip
def test_times_within_leeway_and_lifetime_are_taken(
    check: AssertionCheck, signer: SigningClient, clock: Clock, claims: dict[str, Any]
) -> None:
    at = {name: value if value is ABSENT else clock.time + value for name, value in claims.items()}
    check.judge_claims(presented(signer, claims=at))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [({"exp": -10}, "expired"), ({"exp": 311}, "too long"), ({"nbf": 11}, "future"),
     ({"iat": 11}, "future")],
    ids=["expired", "lives too long", "not yet", "of the future"],
)  # fmt: skip
def test_times_beyond_leeway_and_lifetime_are_refused(
    check: AssertionCheck, signer: SigningClient, clock: Clock, claims: dict[str, int], reason: str
) -> None:
    at = {name: clock.time + value for name, value in claims.items()}
    assertion = presented(signer, claims=at)
    assert reason in reason_of(lambda: check.judge_claims(assertion))


@pytest.mark.parametrize(
    "claims",
    [{"exp": ABSENT}, {"exp": None}, {"exp": "2000000000"}, {"exp": True}, {"exp": [1]},
     {"exp": -1}, {"exp": 10**400}, {"nbf": "x"}, {"iat": None}, {"jti": ABSENT}, {"jti": ""},
     {"jti": 7}, {"jti": None}, {"jti": "\ud800"}, {"jti": "a\n"}],
    ids=lambda claims: ascii(claims)[:30],
)  # fmt: skip
def test_claims_that_are_missing_or_malformed_are_refused(
    check: AssertionCheck, signer: SigningClient, claims: dict[str, Any]
) -> None:
    assertion = presented(signer, claims=claims)
    assert reason_of(lambda: check.judge_claims(assertion)) != ""


def test_a_number_beyond_all_floats_is_refused(
    check: AssertionCheck, signer: SigningClient
) -> None:
    header = b'{"alg": "ES256", "kid": "ec"}'
    claims = f'{{"iss": "signer", "sub": "signer", "aud": "{ISSUER}", "exp": 1e999, "jti": "a"}}'
    text = signer.signed(header, claims.encode(), "ec")
    assertion = client_assertion(assertion_parameters(text))
    assert "exp" in reason_of(lambda: check.judge_claims(assertion))


@pytest.mark.parametrize(
    "typ",
    [ABSENT, "JWT", "jwt", "application/jwt", "client-authentication+jwt",
     "application/client-authentication+jwt", "Client-Authentication+JWT"],
    ids=ascii,
)  # fmt: skip
def test_an_assertion_has_its_type_or_the_old_one_or_none(
    check: AssertionCheck, signer: SigningClient, typ: object
) -> None:
    check.judge_claims(presented(signer, header={"typ": typ}))


@pytest.mark.parametrize(
    "header",
    [{"typ": "at+jwt"}, {"typ": "application/at+jwt"}, {"typ": "dpop+jwt"}, {"typ": ""},
     {"typ": None}, {"typ": ["JWT"]}, {"alg": "none"}, {"alg": "HS256"}, {"alg": "RS512"},
     {"alg": "es256"}, {"alg": ABSENT}, {"alg": ["ES256"]}, {"alg": None}, {"crit": ["exp"]},
     {"crit": []}, {"crit": None}, {"crit": 7}, {"kid": 7}, {"kid": ""}, {"kid": "x" * 300},
     {"kid": ["ec"]}, {"kid": "\x00"}],
    ids=lambda header: ascii(header)[:30],
)  # fmt: skip
def test_a_header_of_something_else_is_refused(
    check: AssertionCheck, signer: SigningClient, header: dict[str, Any]
) -> None:
    assertion = presented(signer, header=header)
    assert reason_of(lambda: check.judge_claims(assertion)) != ""


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
def test_a_signature_of_another_key_is_not_the_clients(
    check: AssertionCheck, signer: SigningClient, kid: str
) -> None:
    with OwnIssuer(audience="nobody") as thief:
        thief.add_key("stolen", like=kid)
    forger = SigningClient("signer", ISSUER, {kid: thief.keys["stolen"]}, signer.now)
    assert check.is_signed_by(registered(signer), presented(forger, kid=kid)) is False


@pytest.mark.parametrize("signature", [b"", b"\x00" * 64, b"\xff" * 256], ids=["none", "0", "ff"])
@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
@pytest.mark.parametrize("known", [True, False], ids=["client", "nobody"])
def test_no_signature_at_all_is_nobodys(
    check: AssertionCheck, signer: SigningClient, kid: str, signature: bytes, known: bool
) -> None:
    client = registered(signer) if known else None
    assert check.is_signed_by(client, presented(signer, kid=kid, signature=signature)) is False


@pytest.mark.parametrize(
    "header",
    [{"alg": "PS256"}, {"kid": "pss"}, {"kid": "ec"}, {"kid": "unknown"}, {"kid": ABSENT}],
    ids=["another algorithm", "another key", "a key of another type", "unknown", "two that fit"],
)
def test_a_header_that_does_not_mean_the_key_is_not_helped(
    check: AssertionCheck, signer: SigningClient, header: dict[str, Any]
) -> None:
    two_of_rs256 = {**signer.keys, "rsa2": replace(signer.keys["rsa"], kid="rsa2")}
    client = registered(replace(signer, keys=two_of_rs256))
    assert check.is_signed_by(client, presented(signer, kid="rsa", header=header)) is False


def test_without_a_kid_the_only_key_that_fits_is_meant(
    check: AssertionCheck, signer: SigningClient
) -> None:
    assertion = presented(signer, kid="pss", header={"kid": ABSENT})
    assert check.is_signed_by(registered(signer), assertion) is True


def test_eddsa_is_taken_as_the_old_name_of_ed25519(
    check: AssertionCheck, signer: SigningClient
) -> None:
    assertion = presented(signer, kid="ed", header={"alg": "EdDSA"})
    check.judge_claims(assertion)
    assert check.is_signed_by(registered(signer), assertion) is True


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
def test_an_unknown_and_a_disabled_client_signed_nothing(
    check: AssertionCheck, signer: SigningClient, kid: str
) -> None:
    assertion = presented(signer, kid=kid)
    disabled = registered(signer, disabled=True)
    signed = [check.is_signed_by(None, assertion), check.is_signed_by(disabled, assertion)]
    assert signed == [False, False]


def test_a_key_in_the_header_is_not_looked_at(check: AssertionCheck, signer: SigningClient) -> None:
    own = {"jwk": signer.keys["ec"].public_jwk(), "kid": "other", "jku": "https://thief.example"}
    assertion = presented(signer, kid="ec", header=own)
    check.judge_claims(assertion)
    assert check.is_signed_by(registered(signer, "rsa"), assertion) is False


def test_an_assertion_shows_no_jwt_in_its_repr(signer: SigningClient) -> None:
    assert (
        repr(presented(signer)) == "ClientAssertion(client_id='signer', method='private_key_jwt')"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
HEADER_NAMES = ["typ", "alg", "kid", "crit", "b64", "jwk", "jku"]
CLAIM_NAMES = ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]
of_function = hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@of_function
@given(
    header=st.dictionaries(st.sampled_from(HEADER_NAMES), json_values, max_size=2),
    claims=st.dictionaries(st.sampled_from(CLAIM_NAMES), json_values, max_size=2),
)
def test_whatever_an_assertion_says_it_is_taken_or_refused(
    check: AssertionCheck, signer: SigningClient, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    client = registered(signer, "ed")
    try:
        assertion = presented(signer, kid="ed", header=header, claims=claims)
        check.judge_claims(assertion)
        outcome: object = check.is_signed_by(client, assertion)
    except InvalidClientError as error:
        outcome = error.reason
    assert outcome in (True, False) or isinstance(outcome, str)


@of_function
@given(parts=st.lists(st.binary(max_size=40), min_size=3, max_size=3))
def test_whatever_octets_an_assertion_is_it_is_refused(parts: list[bytes]) -> None:
    text = b".".join(base64url(part) for part in parts).decode()
    assert reason_of(lambda: client_assertion(assertion_parameters(text))) != ""


@of_function
@given(text=st.text())
def test_whatever_text_an_assertion_is_it_is_refused(text: str) -> None:
    assert reason_of(lambda: client_assertion(assertion_parameters(text))) != ""


@of_function
@given(position=st.integers(min_value=0), other=st.sampled_from("Aa0_-.=+/ é"))
def test_an_assertion_that_was_changed_anywhere_is_refused(
    check: AssertionCheck, signer: SigningClient, position: int, other: str
) -> None:
    good = signer.assertion("ed")
    at = position % len(good)
    changed = good[:at] + other + good[at + 1 :]
    assume(changed != good)
    client = registered(signer, "ed")
    try:
        assertion = client_assertion(assertion_parameters(changed))
        check.judge_claims(assertion)
        outcome = check.is_signed_by(client, assertion)
    except InvalidClientError:
        outcome = False
    assert outcome is False


@of_function
@given(after=st.floats(-1000, 1000), lifetime=st.integers(-100, 1000))
def test_an_assertion_is_taken_exactly_within_its_bounds(
    check: AssertionCheck, signer: SigningClient, clock: Clock, after: float, lifetime: int
) -> None:
    expires_at = clock.time + after + lifetime
    assertion = presented(signer, claims={"iat": clock.time + after, "exp": expires_at})
    leeway, longest = RULES.leeway_seconds, RULES.longest_lifetime_seconds
    within = -leeway < after + lifetime <= longest + leeway and after <= leeway
    try:
        check.judge_claims(assertion)
        taken = True
    except InvalidClientError:
        taken = False
    near = min(abs(after + lifetime + leeway), abs(after + lifetime - longest - leeway),
               abs(after - leeway))  # fmt: skip
    assert taken == within or near < 1e-6  # where a float is not the sum that was meant
