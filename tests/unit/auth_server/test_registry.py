from typing import Any

import pytest
from sqlalchemy.orm import Session

from auth_server.models import Client, ClientSecret
from auth_server.registry import (
    AlreadyRegisteredError,
    NewSecret,
    Registry,
    RegistryError,
    VaultPlace,
    is_live,
    new_secret,
    secret_hash,
)
from shared.database import Database

BANK, LEDGER = "http://localhost:9001", "https://ledger.example"


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(empty_database: Database, clock: Clock) -> Registry:
    registry = Registry(empty_database, clock)
    registry.resources.add(BANK, ["Read", "Write"], is_default=True)
    registry.resources.add(LEDGER, ["Append", "Read"], is_default=False)
    return registry


def add(registry: Registry, client_id: str = "worker", **more: object) -> NewSecret:
    values = {"authentication_method": "client_secret_basic", "may_have_id_token": True}
    return registry.clients.add(client_id, **{**values, **more})  # type: ignore[arg-type]


def test_a_client_without_named_scopes_has_all_of_the_default_resource(
    registry: Registry,
) -> None:
    add(registry)
    assert registry.clients.get("worker").rights.scopes == {BANK: ("Read", "Write")}


def test_named_scopes_come_in_the_order_of_the_resource(registry: Registry) -> None:
    add(registry, scopes=["Write", "Read"])
    assert registry.clients.get("worker").rights.scopes == {BANK: ("Read", "Write")}


def test_a_client_of_two_resources_has_the_first_as_its_default(registry: Registry) -> None:
    add(registry, resources=[LEDGER, BANK], scopes=["Read", "Append"])
    rights = registry.clients.get("worker").rights
    assert rights.default_resource == LEDGER
    assert rights.scopes == {BANK: ("Read",), LEDGER: ("Append", "Read")}


def test_a_client_without_scopes_may_not_use_the_grant(registry: Registry) -> None:
    add(registry, scopes=[])
    client = registry.clients.get("worker")
    assert (client.rights.scopes, client.check_grant_type("client_credentials")) == ({}, False)


def test_a_client_is_found_with_the_hashes_of_its_live_secrets(registry: Registry) -> None:
    first = add(registry)
    second = registry.secrets.add("worker", expires_at=5000)
    hashes = {one.secret_hash: one.expires_at for one in registry.clients.get("worker").secrets}
    assert hashes == {secret_hash(first.secret): None, secret_hash(second.secret): 5000}


@pytest.mark.parametrize("client_id", ["nobody", "", "a\x00b", "http://x", "x" * 129, "'--"])
def test_nobody_is_found_where_nobody_is_registered(registry: Registry, client_id: str) -> None:
    assert registry.find_client(client_id) is None


def test_a_clients_name_is_taken_once(registry: Registry) -> None:
    add(registry)
    with pytest.raises(AlreadyRegisteredError, match="worker"):
        add(registry)


def test_losing_the_race_for_a_name_is_the_same_error(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(registry)
    get = Session.get

    def as_if_not_there(self: Session, entity: Any, ident: Any, **options: Any) -> Any:
        return None if entity is Client else get(self, entity, ident, **options)

    monkeypatch.setattr(Session, "get", as_if_not_there)
    with pytest.raises(AlreadyRegisteredError, match="worker"):
        add(registry)


@pytest.mark.parametrize("client_id", ["", "http://worker", "me@example", "a b", "a/b"])
def test_a_client_may_not_look_like_a_url_or_a_person(registry: Registry, client_id: str) -> None:
    with pytest.raises(RegistryError, match="name"):
        add(registry, client_id)


def test_an_unknown_scope_is_refused_with_those_there_are(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="'Admin': it has Read, Write"):
        add(registry, scopes=["Read", "Admin"])


def test_a_client_that_was_refused_is_not_registered(registry: Registry) -> None:
    with pytest.raises(RegistryError):
        add(registry, scopes=["Admin"])
    assert list(registry.clients.each()) == []


def test_an_unknown_resource_is_refused(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="no resource"):
        add(registry, resources=["https://nowhere.example"])


def test_without_a_default_resource_a_client_has_to_name_one(empty_database: Database) -> None:
    with pytest.raises(RegistryError, match="no default resource"):
        add(Registry(empty_database))


def test_a_disabled_client_keeps_its_first_time(registry: Registry, clock: Clock) -> None:
    add(registry)
    registry.clients.disable("worker")
    clock.time += 50
    registry.clients.disable("worker")
    assert next(registry.clients.each()).disabled_at == 1000
    assert registry.clients.get("worker").is_disabled is True


@pytest.mark.parametrize("client_id", ["nobody", "a\x00b"])
def test_a_command_on_an_unknown_client_is_refused(registry: Registry, client_id: str) -> None:
    with pytest.raises(RegistryError, match="no client"):
        registry.clients.disable(client_id)
    with pytest.raises(RegistryError, match="no client"):
        registry.secrets.all_of(client_id)


def test_a_third_live_secret_is_refused_with_what_to_do(registry: Registry) -> None:
    first = add(registry)
    registry.secrets.add("worker")
    with pytest.raises(RegistryError, match="secrets revoke worker ") as refused:
        registry.secrets.add("worker")
    assert first.secret not in str(refused.value)


def test_an_expired_secret_makes_room(registry: Registry, clock: Clock) -> None:
    add(registry, expires_at=1010)
    registry.secrets.add("worker")
    clock.time = 1010
    assert registry.secrets.add("worker").client_id == "worker"


def test_a_revoked_secret_makes_room_and_is_found_no_more(registry: Registry) -> None:
    first = add(registry)
    second = registry.secrets.add("worker")
    registry.secrets.revoke("worker", first.secret_id)
    hashes = [one.secret_hash for one in registry.clients.get("worker").secrets]
    assert hashes == [secret_hash(second.secret)]
    assert registry.secrets.add("worker").client_id == "worker"


def test_a_secret_on_its_way_into_the_vault_is_one_of_the_two(registry: Registry) -> None:
    add(registry, place=VaultPlace("entry", 1))
    registry.secrets.add("worker")
    with pytest.raises(RegistryError, match="secrets rotate worker --to-vault entry"):
        registry.secrets.add("worker")


def test_a_third_is_refused_with_when_one_of_the_two_ends(registry: Registry) -> None:
    add(registry, expires_at=86400)
    registry.secrets.add("worker")
    with pytest.raises(RegistryError, match=r"wait until 1970-01-02T00:00:00\+00:00"):
        registry.secrets.add("worker")


def test_an_ended_secret_costs_a_token_request_nothing(registry: Registry, clock: Clock) -> None:
    add(registry, expires_at=1010)
    last = registry.secrets.add("worker")
    clock.time = 1010
    found = registry.find_client("worker")
    assert found is not None
    assert [one.secret_id for one in found.secrets] == [last.secret_id]


def test_secrets_that_end_soon_are_found_by_their_end(registry: Registry, clock: Clock) -> None:
    for name, end in (("late", 1500), ("soon", 1200), ("far", 9000), ("never", None)):
        add(registry, name, expires_at=end)
    assert [one.client_id for one in registry.secrets.ending_before(1501)] == ["soon", "late"]
    clock.time = 1200
    assert [one.client_id for one in registry.secrets.ending_before(1501)] == ["late"]


def test_secrets_that_end_soon_are_counted_without_being_read(
    registry: Registry, clock: Clock
) -> None:
    for name, end in (("late", 1500), ("soon", 1200), ("far", 9000), ("never", None)):
        add(registry, name, expires_at=end)
    assert registry.secrets.ends_before(1501) == (2, 1200)
    clock.time = 1500
    assert registry.secrets.ends_before(1501) == (0, None)


def test_the_end_of_an_old_secret_beside_a_new_one_is_none_to_warn_of(registry: Registry) -> None:
    add(registry, expires_at=1200)
    registry.secrets.add("worker", expires_at=9000)
    assert registry.secrets.ending_before(1501) == []
    assert len(registry.secrets.ending_before(9001)) == 2


def test_nobody_is_warned_of_secrets_that_are_no_use(registry: Registry) -> None:
    revoked = add(registry, expires_at=1200)
    registry.secrets.revoke("worker", revoked.secret_id)
    add(registry, "gone", expires_at=1200)
    registry.clients.disable("gone")
    assert registry.secrets.ending_before(1501) == []


def test_a_secret_that_was_found_somewhere_has_an_owner(registry: Registry) -> None:
    made = add(registry)
    found = registry.secrets.find(made.secret)
    assert found is not None
    assert (found.client_id, found.secret_id) == ("worker", made.secret_id)
    assert registry.secrets.find(new_secret()) is None


@pytest.mark.parametrize("secret_id", ["unknown", "a\x00b"])
def test_a_secret_that_is_not_there_can_not_be_revoked(registry: Registry, secret_id: str) -> None:
    add(registry)
    with pytest.raises(RegistryError, match="secrets list"):
        registry.secrets.revoke("worker", secret_id)


def test_another_clients_secret_can_not_be_revoked(registry: Registry) -> None:
    add(registry)
    other = add(registry, "other")
    with pytest.raises(RegistryError, match="no secret"):
        registry.secrets.revoke("worker", other.secret_id)


def test_a_resource_with_the_same_scopes_is_there_already_and_that_is_fine(
    registry: Registry,
) -> None:
    assert registry.resources.add(BANK, ["Write", "Read"], is_default=False) is False


def test_a_resource_with_other_scopes_is_refused(registry: Registry) -> None:
    with pytest.raises(AlreadyRegisteredError, match="Read Write"):
        registry.resources.add(BANK, ["Read"], is_default=False)


def test_a_new_default_takes_the_place_of_the_old(registry: Registry) -> None:
    registry.resources.add(LEDGER, ["Append", "Read"], is_default=True)
    defaults = {resource.uri: resource.is_default for resource, _ in registry.resources.all()}
    assert defaults == {BANK: False, LEDGER: True}


@pytest.mark.parametrize(
    ("uri", "scopes"),
    [("bank", ["Read"]), ("http://a#b", ["Read"]), ("http://a", []), ("http://a", ["a b"]),
     ("http://a", ["openid"]), ("http://a", ["x" * 129])],
    ids=["no uri", "fragment", "no scope", "two in one", "openid", "too long"],
)  # fmt: skip
def test_a_bad_resource_is_refused(registry: Registry, uri: str, scopes: list[str]) -> None:
    with pytest.raises(RegistryError):
        registry.resources.add(uri, scopes, is_default=False)


def test_every_scope_is_listed_once(registry: Registry) -> None:
    assert registry.resources.all_scopes() == ["Read", "Write", "Append"]


def test_a_revoked_secret_is_not_live() -> None:
    assert is_live(ClientSecret(revoked_at=1, expires_at=None), 0) is False


def test_a_new_secret_is_not_in_a_repr(registry: Registry) -> None:
    made = add(registry)
    assert made.secret not in repr(made)
    assert secret_hash(made.secret) not in repr(registry.clients.get("worker"))
