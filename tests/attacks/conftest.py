from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.attacker import attacker_of
from tests.conformance.local_servers import local_resource_server
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer


@pytest.fixture(scope="session")
def bank_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the attacked bank keeps its data and its log."""
    return tmp_path_factory.mktemp("attacked bank")


@pytest.fixture(scope="session")
def bank(bank_folder: Path) -> Iterator[ResourceServerUnderTest]:
    """Our bank, which trusts an issuer of the tests' own."""
    with local_resource_server(bank_folder) as ours:
        yield ours


@pytest.fixture
def issuer(bank: ResourceServerUnderTest) -> OwnIssuer:
    """The issuer that the bank trusts, and the careless server beside it."""
    return bank.issuer


@pytest.fixture
def attacker(issuer: OwnIssuer) -> Iterator[OwnIssuer]:
    with attacker_of(issuer) as running:
        yield running
