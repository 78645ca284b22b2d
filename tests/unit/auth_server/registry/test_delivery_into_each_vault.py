"""A secret on its way into a vault on a server: what a crash cut off is known by its version."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from auth_server.registry.rotation import AlreadyRotatedError
from auth_server.registry.secret_delivery import SecretDelivery
from shared.identifiers import VAULT_CLIENT_SECRET
from shared.vault import EntryVersion, Vault, VaultConflictError, open_vault
from tests.stack.vaults import running_vault
from tests.unit.auth_server.registry.rotating import CLIENT, ROTATION, CutOffError, Rotating
from tests.unit.auth_server.running import Clock

ENTRY = "worker-in-the-cloud"
ORDER = replace(ROTATION, entry=ENTRY)
THEIRS = {"client_id": CLIENT, VAULT_CLIENT_SECRET: "theirs"}


@pytest.fixture(params=["openbao", "aws", "azure"])
def vault(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vault]:
    with running_vault(request.param, ENTRY, tmp_path, monkeypatch) as settings:
        yield open_vault(settings)


class CutOff:
    """A vault whose writer dies when it has written, or just before."""

    def __init__(self, vault: Vault, writes: bool) -> None:
        self._vault, self._writes = vault, writes
        self.late_write_seconds = vault.late_write_seconds

    def read(self, entry: str) -> dict[str, str]:
        return self._vault.read(entry)

    def version(self, entry: str) -> EntryVersion:
        return self._vault.version(entry)

    def write(
        self, entry: str, fields: Mapping[str, str], expected_version: int | None = None
    ) -> int:
        if self._writes:
            self._vault.write(entry, fields, expected_version)
        raise CutOffError


def test_a_rotation_that_was_cut_off_with_its_secret_in_the_vault_is_finished(
    rotating: Rotating, vault: Vault
) -> None:
    with pytest.raises(CutOffError):
        SecretDelivery(rotating.database, CutOff(vault, True), rotating.now).fulfil(ORDER)
    held = vault.read(ENTRY)[VAULT_CLIENT_SECRET]

    delivery = SecretDelivery(rotating.database, vault, rotating.now)
    done = delivery.fulfil(ORDER)

    assert (done.new.vault_version, vault.read(ENTRY)[VAULT_CLIENT_SECRET]) == (1, held)
    assert rotating.authenticates(held)
    with pytest.raises(AlreadyRotatedError):
        delivery.fulfil(ORDER)


def test_a_secret_that_did_not_arrive_is_ended_once_it_cannot_arrive_late(
    rotating: Rotating, vault: Vault, clock: Clock
) -> None:
    with pytest.raises(CutOffError):
        SecretDelivery(rotating.database, CutOff(vault, False), rotating.now).fulfil(ORDER)
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        clock.time += seconds

    done = SecretDelivery(rotating.database, vault, rotating.now, pause).fulfil(ORDER)

    assert waited == [vault.late_write_seconds]
    assert rotating.authenticates(vault.read(ENTRY)[VAULT_CLIENT_SECRET])
    assert sum(one.revoked_at is not None for one in rotating.secrets()) == 1
    assert done.new.delivered_at is not None


def test_where_somebody_else_wrote_meanwhile_their_version_stays_and_ours_is_ended(
    rotating: Rotating, vault: Vault
) -> None:
    class Outrun(CutOff):
        def write(
            self, entry: str, fields: Mapping[str, str], expected_version: int | None = None
        ) -> int:
            self._vault.write(entry, THEIRS)
            return self._vault.write(entry, fields, expected_version)

    with pytest.raises(VaultConflictError, match="somebody else wrote it meanwhile"):
        SecretDelivery(rotating.database, Outrun(vault, True), rotating.now).fulfil(ORDER)

    assert vault.read(ENTRY) == THEIRS
    assert sum(one.revoked_at is not None for one in rotating.secrets()) == 1
