import re

import pytest

from auth_server.registry.secret_text import has_checksum, new_secret, secrets_in


def test_a_secret_has_a_prefix_a_checksum_and_no_other_characters() -> None:
    assert re.fullmatch(r"ccs_[A-Za-z0-9_-]{43}[A-Za-z0-9]{6}", new_secret())


def test_two_secrets_differ() -> None:
    assert new_secret() != new_secret()


def test_a_secret_ends_in_its_checksum_and_a_changed_one_does_not() -> None:
    secret = new_secret()
    changed = secret[:10] + ("A" if secret[10] != "A" else "B") + secret[11:]
    assert (has_checksum(secret), has_checksum(changed)) == (True, False)


@pytest.mark.parametrize(
    "around",
    ["{}", "password={}&x=1", "ccs_{}", "see '{}', {}", "ccs_ccs_{}", "{}{}"],
)
def test_secrets_are_found_wherever_they_stand(around: str) -> None:
    secrets = [new_secret() for _ in range(around.count("{}"))]
    assert list(secrets_in(around.format(*secrets))) == secrets


@pytest.mark.parametrize("text", ["", "ccs_", "ccs_" + "A" * 49, "no secret", "CCS_" + "A" * 49])
def test_what_has_no_checksum_is_no_secret(text: str) -> None:
    assert list(secrets_in(text)) == []


def test_a_part_of_a_secret_is_none() -> None:
    assert list(secrets_in(new_secret()[:-1])) == []
