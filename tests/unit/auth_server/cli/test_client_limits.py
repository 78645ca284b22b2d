from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from auth_server.jwk import SIGNATURES
from tests.unit.auth_server.running import BANK, LEDGER, Running, error_of, object_of


def token_of_worker(server: Running, *more: tuple[str, str]) -> tuple[int, int]:
    """Return how long the token lives, as the answer says it and as it says itself."""
    answer = server.ask(*more).get_json()
    keys = KeySet.import_key_set(server.http.get("/oidc/jwks").get_json())
    claims = jwt.decode(answer["access_token"], keys, registry=SIGNATURES).claims
    return answer["expires_in"], claims["exp"] - claims["iat"]


def shown(server: Running, client: str = "worker") -> Any:
    return object_of(server, "clients", "show", client)


def test_a_client_is_made_with_a_lifetime_of_its_own(server: Running) -> None:
    made = object_of(server, "clients", "add", "cron", "--lifetime", "600")
    basic = server.basic("cron", made["client_secret"])
    assert server.ask(authorization=basic).get_json()["expires_in"] == 600
    assert made["lifetime"] == 600


def test_the_lifetime_of_a_client_is_that_of_its_tokens_until_it_is_the_default_again(
    server: Running,
) -> None:
    object_of(server, "clients", "set", "worker", "--lifetime", "60")
    assert token_of_worker(server) == (60, 60)
    object_of(server, "clients", "set", "worker", "--lifetime", "default")
    server.clock.time += server.parts.settings.client_cache_seconds
    assert token_of_worker(server) == (300, 300)


def test_no_token_outlives_the_longest_lifetime_of_the_settings(
    make: Callable[..., Running],
) -> None:
    object_of(make(), "clients", "set", "worker", "--lifetime", "3600")
    assert token_of_worker(make(access_token_lifetime_max_seconds=900)) == (900, 900)


@pytest.mark.parametrize("lifetime", ["9", "3601", "0", "-1", "soon", "", "1e3"])
def test_a_lifetime_out_of_bounds_is_wrong_usage(server: Running, lifetime: str) -> None:
    assert server.command("clients", "set", "worker", "--lifetime", lifetime).exit_code == 2
    assert server.command("clients", "add", "cron", "--lifetime", lifetime).exit_code == 2


def test_whether_a_client_may_have_an_id_token_can_be_changed(server: Running) -> None:
    object_of(server, "clients", "set", "worker", "--no-id-token")
    assert server.ask(("scope", "openid")).get_json()["error"] == "invalid_scope"
    object_of(server, "clients", "set", "worker", "--id-token")
    assert server.ask(("scope", "openid")).status_code == 200


def test_what_is_not_named_is_not_changed(server: Running) -> None:
    object_of(server, "clients", "set", "worker", "--lifetime", "60", "--no-id-token")
    object_of(server, "clients", "set", "worker", "--default-resource", BANK)
    assert (shown(server)["lifetime"], shown(server)["id_token"]) == (60, False)


def test_nothing_to_set_is_wrong_usage(server: Running) -> None:
    assert error_of(server, "clients", "set", "worker")[0] == 2


def test_a_default_resource_is_one_that_the_client_has_scopes_of(server: Running) -> None:
    code, line = error_of(server, "clients", "set", "worker", "--default-resource", LEDGER)
    assert (code, "has no scope of" in line) == (1, True)
    object_of(server, "clients", "grant", "worker", "--resource", LEDGER)
    changed = object_of(server, "clients", "set", "worker", "--default-resource", LEDGER)
    assert (changed["default_resource"], changed["scope"]) == (LEDGER, "Append Read")


def test_a_scope_is_taken_from_a_client(server: Running) -> None:
    left = object_of(server, "clients", "ungrant", "worker", "--scope", "Write")
    assert (left["scope"], left["default_resource"]) == ("Read", BANK)
    assert server.ask(("scope", "Write")).get_json()["error"] == "invalid_scope"


def test_who_loses_its_default_resource_gets_no_token_for_another_unasked(server: Running) -> None:
    object_of(server, "clients", "grant", "worker", "--resource", LEDGER)
    left = object_of(server, "clients", "ungrant", "worker")
    assert (left["default_resource"], left["scopes"]) == (None, {LEDGER: ["Append", "Read"]})
    assert server.ask().get_json()["error"] == "invalid_target"
    assert server.ask(("resource", LEDGER)).status_code == 200


def test_a_client_whose_last_scope_is_taken_may_have_no_token(server: Running) -> None:
    object_of(server, "clients", "ungrant", "worker", "--resource", BANK)
    assert server.ask().get_json()["error"] == "unauthorized_client"


@pytest.mark.parametrize(
    "options",
    [["--scope", "Admin"], ["--scope", "Read", "--scope", "Append"], ["--resource", LEDGER],
     ["--resource", "urn:unknown"], ["--resource", "\x00"]],
    ids=ascii,
)  # fmt: skip
def test_what_a_client_does_not_have_can_not_be_taken(server: Running, options: list[str]) -> None:
    code, line = error_of(server, "clients", "ungrant", "worker", *options)
    assert (code, "does not have" in line) == (1, True)
    assert shown(server)["scope"] == "Read Write"
