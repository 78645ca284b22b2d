"""Two commands on one resource at once: on SQLite, where they take turns, and on PostgreSQL."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from auth_server.app import MIGRATIONS
from auth_server.registry import Registry, RegistryError
from shared.database import Database, migrate
from tests.stack.postgres import PostgresDatabase
from tests.unit.auth_server.running import BANK, LEDGER

ROUNDS = 20
SECONDS = 30
METHOD = "client_secret_basic"


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def registry(request: pytest.FixtureRequest, empty_database: Database) -> Iterator[Registry]:
    """A register on a database of each kind, with a client that has scopes of the bank."""
    database = empty_database
    if request.param == "PostgreSQL":
        given: PostgresDatabase = request.getfixturevalue("postgres_database")
        database = Database(given.url, given.password)
        migrate(database, MIGRATIONS)
    registry = Registry(database)
    registry.resources.add(BANK, ["Read"], is_default=True)
    registry.clients.add("worker", authentication_method=METHOD, may_have_id_token=True)
    yield registry
    database.engine.dispose()


def ended(command: Callable[[], object]) -> str:
    """Return how a command ended; anything but success and a refusal fails the test."""
    try:
        command()
    except RegistryError:
        return "refused"
    return "done"


@pytest.mark.parametrize("by_force", [True, False], ids=["by force", "without force"])
@pytest.mark.parametrize("does", ["grant", "set", "add"])
def test_a_resource_is_not_removed_from_under_another_command(
    registry: Registry, does: str, by_force: bool
) -> None:
    resources, clients, limits = registry.resources, registry.clients, registry.limits
    for number in range(ROUNDS):
        resources.add(LEDGER, ["Append", "Read"], is_default=False)
        if does == "set":
            clients.grant("worker", resource=LEDGER)
        others: dict[str, Callable[[], object]] = {
            "grant": lambda: clients.grant("worker", resource=LEDGER, is_default=True),
            "set": lambda: limits.change("worker", default_resource=LEDGER),
            "add": partial(
                clients.add,
                f"new-{number}",
                resources=[LEDGER],
                authentication_method=METHOD,
                may_have_id_token=True,
            ),
        }
        with ThreadPoolExecutor(2) as pool:
            other = pool.submit(ended, others[does])
            removal = pool.submit(ended, lambda: resources.remove(LEDGER, from_clients=by_force))
            outcomes = (other.result(SECONDS), removal.result(SECONDS))
        assert outcomes != ("refused", "refused")
        assert (LEDGER in uris(registry)) is (outcomes[1] == "refused")
        if outcomes[1] == "refused":
            resources.remove(LEDGER, from_clients=True)
        worker = clients.get("worker").rights
        assert (worker.default_resource or BANK) in worker.scopes
        limits.change("worker", default_resource=BANK)


def uris(registry: Registry) -> list[str]:
    return [resource.uri for resource, _scopes in registry.resources.all()]
