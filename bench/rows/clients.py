"""Whether a token costs more where more clients are registered: 1, 1,000 and 1,000,000.

And what a read from a database costs the least server in Flask: that is what ours cannot go below
where each request is of another client.
"""

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from sqlalchemy import insert

from auth_server.models import Client, ClientScope, ClientSecret
from auth_server.registry import new_secret, secret_hash
from bench.launch import Launch, Peer, Varied, basic
from bench.machine import Cores
from bench.peers.ours import API, OurServer
from bench.peers.python_peers import least, least_ask
from bench.plan import Plan
from bench.programs import bench_secret
from bench.rows.variants import measure_variants
from shared.database import Database

COUNTS = ((1, 1), (1_000, 1_000), (1_000_000, 1), (1_000_000, 1_000_000))
"""How many are registered, and how many of them ask."""
ALGORITHMS = ("RS256", "ES256")
BATCH = 20_000
MOST_ASKED = 200_000
IN_LEAST = 1_000_000
LEAST_FORMS = (
    ("one client, in memory", 0),
    ("a read for each token, 1 asks", 1),
    ("a read for each token, 1,000,000 ask", IN_LEAST),
)
"""What the least server is measured as, and how many of its table's clients ask; 0: no table."""
SEED = 8
"""Of the order in which clients ask: the same in every run."""

LINES = (
    "## Tokens, by the number of registered clients",
    "",
    "Where several ask, each request is of another client, chosen at random; a process keeps "
    "10,000 clients for five seconds. Of a million, each asks so seldom that every request is read "
    "from the database, and its use noted there. All have the same secret, which spares us a "
    "million of them.",
)


LEAST_LINES = (
    "## What a read costs the least server in Flask",
    "",
    "`bench/peers/flask-least`: no OAuth library, no log line. Its client is in memory; or each is "
    "a row in one SQLite table of a million, of which it reads one column by the primary key. What "
    "this takes above the first form, no server in Python that asks SQLite for each token saves.",
)


def measure(plan: Plan, cores: Cores, out: Path) -> str:
    """Measure our server with so many clients, and the least server with a read and without."""
    variants = [
        Peer(f"{count:,} registered, {asking:,} ask", partial(_prepare, count, asking, algorithm))
        for count, asking in COUNTS
        for algorithm in ALGORITHMS
    ]
    of_least = [
        Peer(form, partial(_prepare_least, asking, algorithm))
        for form, asking in LEAST_FORMS
        for algorithm in ALGORITHMS
    ]
    ours = measure_variants("clients", LINES, variants, plan, cores, out)
    least_too = measure_variants("clients-least", LEAST_LINES, of_least, plan, cores, out)
    return f"{ours}\n\n{least_too}"


def _prepare(count: int, asking: int, algorithm: str, folder: Path) -> Launch:
    server = OurServer(folder, {"AUTH_SERVER_ACCESS_TOKEN_ALGORITHM": algorithm})
    server.set_up()
    secret = new_secret()
    print(f"registering {count:,} clients", flush=True)
    _register(server, count, secret)
    lines = folder / "authorization"
    lines.write_text("\n".join(basic(name, secret) for name in _asking(asking)))
    launch = server.launch((algorithm, _name(0), secret))
    ask = replace(launch.asks[0], varied=lambda _: Varied("authorization", lines))
    return replace(launch, asks=(ask,))


def _prepare_least(asking: int, algorithm: str, folder: Path) -> Launch:
    ask = least_ask(algorithm)
    if not asking:
        return least(algorithm, ask)
    file, lines = folder / "clients.db", folder / "authorization"
    _make_table(file)
    lines.write_text("\n".join(basic(name, bench_secret()) for name in _asking(asking)))
    return least(algorithm, replace(ask, varied=lambda _: Varied("authorization", lines)), file)


def _make_table(file: Path) -> None:
    """Write the clients of the least server, in the order of their names."""
    secret = bench_secret()
    rows = (
        (name, sha256(f"{name}:{secret}".encode()).digest())
        for name in ("bench", *sorted(map(_name, range(IN_LEAST))))
    )
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(
            "CREATE TABLE clients (client_id TEXT PRIMARY KEY, credentials_hash BLOB NOT NULL)"
            " WITHOUT ROWID"
        )
        database.executemany("INSERT INTO clients VALUES (?, ?)", rows)


def _asking(count: int) -> Iterable[str]:
    """Return the clients that ask, one after the other; they come round again."""
    numbers = random.Random(SEED).sample(range(count), min(count, MOST_ASKED))  # noqa: S311
    return map(_name, numbers)


def _name(number: int) -> str:
    return f"client-{number}"


def _register(server: OurServer, count: int, secret: str) -> None:
    """Write the rows of all clients; by the command line it would take a day."""
    database = Database(server.environment["AUTH_SERVER_DATABASE_URL"], None)
    digest = secret_hash(secret)
    for start in range(0, count, BATCH):
        names = [_name(number) for number in range(start, min(start + BATCH, count))]
        with database.writing() as session:
            session.execute(insert(Client), [_client(name) for name in names])
            session.execute(
                insert(ClientScope),
                [{"client_id": name, "resource": API, "scope": "Read"} for name in names],
            )
            session.execute(insert(ClientSecret), [_secret(name, digest) for name in names])
    database.engine.dispose()


def _client(name: str) -> dict[str, object]:
    return {
        "client_id": name,
        "authentication_method": "client_secret_basic",
        "may_have_id_token": False,
        "default_resource": API,
        "created_at": 0,
    }


def _secret(name: str, digest: str) -> dict[str, object]:
    return {"secret_id": name, "client_id": name, "secret_hash": digest, "created_at": 0}
