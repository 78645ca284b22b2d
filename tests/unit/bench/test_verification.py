import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from bench.verification import BadAnswerError, require_200, scopes_in, verify_tokens

KEY = ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
KEYS = KeySet([KEY])
API = "urn:api"


def answer(number: int, key: ECKey = KEY, status: int = 200, **changes: Any) -> tuple[int, bytes]:
    now = int(time.time())
    claims = {"jti": str(number), "aud": API, "scope": "Read", "iat": now, "exp": now + 300}
    token = jwt.encode({"alg": "ES256", "kid": "one"}, claims | changes, key)
    return status, json.dumps({"access_token": token}).encode()


def test_good_tokens_are_counted() -> None:
    good = [answer(1), answer(2, scope=["Read"]), answer(3, aud=["account", API])]

    assert verify_tokens(good, KEYS, "ES256", API) == 3


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param(answer(1, ECKey.generate_key("P-256")), "does not verify", id="forged"),
        pytest.param(answer(1, scope="Read Write"), "not with Read", id="another scope"),
        pytest.param(answer(1, aud="bench"), "not for 'urn:api'", id="for its client"),
        pytest.param(answer(1, aud=None), "not for 'urn:api'", id="for nobody"),
        pytest.param(answer(1, exp=2**31), "not for 300 s", id="another lifetime"),
        pytest.param(answer(1, status=401), "answered 401", id="another status"),
    ],
)
def test_one_bad_token_is_enough_to_refuse_all(bad: tuple[int, bytes], said: str) -> None:
    with pytest.raises(BadAnswerError, match=said):
        verify_tokens([answer(2), bad], KEYS, "ES256", API)


def test_a_token_that_comes_twice_is_refused() -> None:
    twice = answer(1)

    with pytest.raises(BadAnswerError, match="came twice"):
        verify_tokens([twice, twice], KEYS, "ES256", API)


def test_a_token_of_another_algorithm_than_the_one_measured_is_refused() -> None:
    with pytest.raises(BadAnswerError, match="does not verify with RS256"):
        verify_tokens([answer(1)], KEYS, "RS256", API)


def test_an_answer_without_a_token_has_to_be_a_200() -> None:
    assert require_200([(200, b""), (200, b"")]) == 2
    with pytest.raises(BadAnswerError, match="answered 500"):
        require_200([(200, b""), (500, b"")])


def test_scopes_are_read_as_a_list_too_as_spring_writes_them() -> None:
    assert scopes_in({"scope": ["a", "b"]}) == scopes_in({"scope": "a b"})
