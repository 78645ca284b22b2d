"""What it costs to find one client among many: `python -m bench.client_lookup --clients 1000000`.

It is the one read of a token request whose client is not in memory. On SQLite in a temporary
folder; or on an empty database at DATABASE_URL, with the password in DATABASE_PASSWORD.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from pydantic import SecretStr
from sqlalchemy import insert

from auth_server.app import MIGRATIONS
from auth_server.models import Client, ClientScope, ClientSecret
from auth_server.registry import Registry
from shared.database import Database, migrate

LOOKUPS = 2000
BATCH = 20_000
RESOURCE = "urn:bank"
SCOPES = ("Read", "Write")


def main() -> None:
    """Measure with one client and with as many as were asked for, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000_000)
    clients = parser.parse_args().clients
    with tempfile.TemporaryDirectory() as folder:
        database = _database(Path(folder))
        migrate(database, MIGRATIONS)
        registry = Registry(database)
        registry.resources.add(RESOURCE, SCOPES, is_default=True)
        for first, count in ((0, 1), (1, clients)):
            _register(database, first, count)
            _print(count, _costs(registry, count))
        database.engine.dispose()


def _database(folder: Path) -> Database:
    url = os.environ.get("DATABASE_URL", f"sqlite:///{folder / 'auth_server.db'}")
    password = os.environ.get("DATABASE_PASSWORD")
    return Database(url, SecretStr(password) if password else None)


def _register(database: Database, first: int, end: int) -> None:
    """Write the rows of the clients numbered from ``first`` up to ``end``, as many at a time."""
    for start in range(first, end, BATCH):
        names = [f"client-{number}" for number in range(start, min(start + BATCH, end))]
        with database.writing() as session:
            session.execute(insert(Client), [_client(name) for name in names])
            scopes = [(name, scope) for name in names for scope in SCOPES]
            session.execute(
                insert(ClientScope),
                [{"client_id": name, "resource": RESOURCE, "scope": one} for name, one in scopes],
            )
            session.execute(insert(ClientSecret), [_secret(name) for name in names])


def _client(name: str) -> dict[str, object]:
    return {
        "client_id": name,
        "authentication_method": "client_secret_basic",
        "may_have_id_token": True,
        "default_resource": RESOURCE,
        "created_at": 0,
    }


def _secret(name: str) -> dict[str, object]:
    return {"secret_id": name, "client_id": name, "secret_hash": name, "created_at": 0}


def _costs(registry: Registry, count: int) -> list[float]:
    """Return what each look-up took, in microseconds; the first ones warm up and do not count."""
    costs = []
    for number in range(2 * LOOKUPS):
        began = time.perf_counter()
        found = registry.find_client(f"client-{number * 7919 % count}")
        costs.append((time.perf_counter() - began) * 1e6)
        assert found is not None, "it was registered"
    return costs[LOOKUPS:]


def _print(count: int, costs: list[float]) -> None:
    p99 = quantiles(costs, n=100)[98]
    print(f"{count:>9} clients: median {median(costs):.0f} µs, p99 {p99:.0f} µs")


if __name__ == "__main__":
    main()
