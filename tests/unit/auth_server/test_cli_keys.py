import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from joserfc.jwk import OKPKey
from pydantic import SecretStr

from tests.unit.auth_server.running import KEY_ENCRYPTION_KEY, Running

DAY = 86400
PENDING = 315  # the settings' defaults: 300 + 5 + 10


def result_of(server: Running, *arguments: str) -> Any:
    result = server.command("keys", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def states(server: Running) -> list[str]:
    return [row["state"] for row in result_of(server, "list")]


def test_keys_are_listed_with_the_times_of_each_change(server: Running) -> None:
    active, spare = result_of(server, "list")
    assert active == {
        "kid": active["kid"],
        "algorithm": "RS256",
        "state": "active",
        "created_at": "2027-01-15T08:00:00+00:00",
        "known_from": "2027-01-15T08:00:00+00:00",
        "active_from": "2027-01-15T08:00:00+00:00",
        "retired_from": "2027-04-15T08:00:00+00:00",
        "gone_from": "2027-04-15T10:25:00+00:00",
        "encrypted_with": "first",
    }
    assert (spare["state"], spare["active_from"]) == ("pending", active["retired_from"])
    assert (spare["retired_from"], spare["gone_from"]) == (None, None)


def test_without_a_rotation_by_itself_no_time_of_one_is_listed(
    make: Callable[..., Running],
) -> None:
    active, spare = result_of(make(key_active_days=0), "list")
    assert (active["retired_from"], spare["active_from"]) == (None, None)


def test_a_generated_key_waits_until_every_copy_of_the_jwks_has_it(server: Running) -> None:
    row = result_of(server, "generate")
    assert (row["state"], row["active_from"]) == ("pending", "2027-01-15T08:05:15+00:00")
    server.clock.time += PENDING
    assert states(server) == ["retired", "pending", "active"]


def test_a_first_key_of_another_algorithm_waits_too(server: Running) -> None:
    row = result_of(server, "generate", "--algorithm", "Ed25519")
    assert (row["state"], row["active_from"]) == ("pending", "2027-01-15T08:05:15+00:00")


def test_a_rotation_says_when_the_next_key_signs(server: Running) -> None:
    (at_once,), (later,) = result_of(server, "rotate"), result_of(server, "rotate")
    assert (at_once["state"], later["state"]) == ("active", "pending")
    assert later["active_from"] == "2027-01-15T08:05:15+00:00"
    assert states(server) == ["retired", "active", "pending", "pending"]


def test_each_algorithm_in_use_is_rotated_or_the_one_that_is_named(
    make: Callable[..., Running],
) -> None:
    server = make(access_token_algorithm="Ed25519")
    server.ask()
    rows = result_of(server, "rotate")
    assert [row["algorithm"] for row in rows] == ["Ed25519", "RS256"]
    (row,) = result_of(server, "rotate", "--algorithm", "Ed25519")
    assert row["kid"] == rows[0]["kid"]  # as that one is under way


def test_a_revoked_key_is_dropped_and_it_says_what_that_costs(server: Running) -> None:
    old, spare = (row["kid"] for row in result_of(server, "list"))
    assert result_of(server, "revoke", old, "--yes") == {
        "replaced": old,
        "signing": spare,
        "known_from": "2027-01-15T08:00:00+00:00",
        "old_copies_for_seconds": PENDING,
        "old_copies_until": "2027-01-15T08:05:15+00:00",
    }
    assert states(server) == ["revoked", "active", "pending"]


def test_before_a_key_is_revoked_it_asks_and_tells_how_long_banks_may_take_its_tokens(
    on_a_terminal: Running,
) -> None:
    server = on_a_terminal
    old = result_of(server, "list")[0]["kid"]
    asked = server.command("keys", "revoke", old, given=b"n\n")
    assert (asked.exit_code, "for 315 s yet" in asked.stderr, asked.stdout) == (1, True, "")
    assert states(server) == ["active", "pending"]
    assert server.command("keys", "revoke", old, given=b"y\n").exit_code == 0
    assert states(server) == ["revoked", "active", "pending"]


def test_all_keys_can_be_revoked(server: Running) -> None:
    result_of(server, "revoke", "--all", "--yes")
    assert states(server) == ["revoked", "revoked", "active", "pending"]


def test_lost_keys_are_replaced_and_what_they_signed_goes_on_being_taken(
    make: Callable[..., Running],
) -> None:
    published = make().http.get("/oidc/jwks").get_json()["keys"]
    server = make(key_encryption_key=SecretStr(Fernet.generate_key().decode()))
    assert server.ask().status_code == 503
    assert server.command("keys", "replace-lost").exit_code == 2

    replaced = result_of(server, "replace-lost", "--yes")

    server.clock.time += 5
    assert server.ask().status_code == 200
    assert states(server) == ["retired", "revoked", "active", "pending"]
    assert published[0] in server.http.get("/oidc/jwks").get_json()["keys"]
    assert replaced["old_copies_for_seconds"] == PENDING


def test_keys_are_encrypted_anew_and_then_the_old_key_may_go(
    make: Callable[..., Running],
) -> None:
    new = Fernet.generate_key().decode()
    both = make(key_encryption_key=SecretStr(f"{new}\n{KEY_ENCRYPTION_KEY}"))
    before = [row["encrypted_with"] for row in result_of(both, "list")]

    assert result_of(both, "reencrypt") == {"reencrypted": 2, "left_under_another": 0}

    after = [row["encrypted_with"] for row in result_of(both, "list")]
    assert (before, after) == (["other"] * 2, ["first"] * 2)
    assert make(key_encryption_key=SecretStr(new)).ask().status_code == 200


def test_a_vault_that_is_away_is_one_line(make: Callable[..., Running], state_dir: Path) -> None:
    server = make(key_encryption_entry="auth-server")
    result = server.command("keys", "generate")
    assert (result.exit_code, "vault's entry auth-server cannot be read" in result.stderr) == (
        1,
        True,
    )


def test_a_key_of_ones_own_is_imported_once(server: Running, tmp_path: Path) -> None:
    key = OKPKey.generate_key("Ed25519")
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key.as_dict(private=True)))
    row = result_of(server, "import", str(file))
    assert (row["kid"], row["algorithm"]) == (key.thumbprint(), "Ed25519")
    assert server.command("keys", "import", str(file)).exit_code == 3


@pytest.mark.parametrize("text", ["{", "[]", "{}", "\xff"], ids=ascii)
def test_a_file_that_holds_no_key_is_an_error(server: Running, text: str) -> None:
    result = server.command("keys", "import", "-", given=text.encode("latin-1"))
    assert result.exit_code == 1


def test_a_key_is_not_lost_to_a_wrong_key_encryption_key(make: Callable[..., Running]) -> None:
    wrong = make(key_encryption_key=SecretStr(Fernet.generate_key().decode()))
    assert wrong.command("keys", "generate").exit_code == 1
    assert [row["encrypted_with"] for row in result_of(wrong, "list")] == ["none", "none"]
