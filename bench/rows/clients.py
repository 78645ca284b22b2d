"""Whether a token costs more where more clients are registered: 1, 1,000 and 1,000,000.

And what one read from a database costs the least server in Flask, to hold beside what it costs ours
where each request is of another client.
"""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import cycle
from pathlib import Path

from sqlalchemy import insert

from auth_server.models import Client, ClientScope, ClientSecret
from auth_server.registry import new_secret, secret_hash
from bench.comparison import run_folder
from bench.launch import Launch, Peer, Varied, basic
from bench.machine import Cores
from bench.peers.ours import API, OurServer
from bench.peers.python_peers import least_ask, least_server
from bench.plan import Plan
from bench.programs import bench_secret
from bench.report import put_section
from bench.rows.variants import table_of
from shared.database import Database

COUNTS = ((1, 1), (1_000, 1_000), (1_000_000, 1), (1_000_000, 1_000_000))
"""How many are registered, and how many of them ask."""
ALGORITHMS = ("RS256", "ES256")
BATCH = 20_000
MOST_ASKED_IN_A_LOAD = 100_000
"""More than a load makes requests: where more could ask, no client asks twice in one."""
SEED = 8
"""Of the order in which clients ask: the same in every run."""
IN_THE_TABLE = 1_000_000
"""How many clients the least server reads one of."""
LEAST_FORMS = (
    ("one client, in memory", None),
    ("a read for each token, 1 asks", 1),
    ("a read for each token, each another's", IN_THE_TABLE),
)
"""What the least server is measured as, and how many of its table ask; None: it has no table."""

LINES = (
    "## Tokens, by the number of registered clients",
    "",
    "Where several ask, each request is of another client, in an order that was drawn; a process "
    "keeps 10,000 clients for five seconds. `each token another's` draws from all of them, so that "
    "no client asks twice in a load: each is read from the database, and its use noted there. All "
    "have the same secret, which spares us a million of them.",
)
LEAST_LINES = (
    "What one read costs the least server in Flask, `bench/peers/flask-least`: its client is in "
    "memory; or each is a row in one SQLite table of a million, of which it reads one column by "
    "the primary key. Ours reads a client, its live secrets and its scopes, from four tables.",
)


def measure(plan: Plan, cores: Cores, out: Path) -> str:
    """Measure our server with so many clients, and the least one with a read and without."""
    variants = [
        Peer(_form(count, asking), partial(_prepare, count, asking, algorithm))
        for count, asking in COUNTS
        for algorithm in ALGORITHMS
    ]
    ours, noises = table_of(variants, plan, cores)
    with run_folder() as folder:
        _make_table(folder / "clients.db")
        variants = [
            Peer(form, partial(_prepare_least, folder / "clients.db", asking, algorithm))
            for form, asking in LEAST_FORMS
            for algorithm in ALGORITHMS
        ]
        least, more_noises = table_of(variants, plan, cores)
    lines = [*LINES, "", *ours, "", *LEAST_LINES, "", *least]
    return put_section(out, "clients", lines, cores, [*noises, *more_noises], plan)


def _form(count: int, asking: int) -> str:
    asked = f"{asking:,} ask" if asking <= MOST_ASKED_IN_A_LOAD else "each token another's"
    return f"{count:,} registered, {asked}"


def _prepare(count: int, asking: int, algorithm: str, folder: Path) -> Launch:
    server = OurServer(folder, {"AUTH_SERVER_ACCESS_TOKEN_ALGORITHM": algorithm})
    server.set_up()
    secret = new_secret()
    print(f"registering {count:,} clients", flush=True)
    _register(server, count, secret)
    launch = server.launch((algorithm, _name(0), secret))
    ask = replace(launch.asks[0], varied=_in_turn(folder, asking, secret))
    return replace(launch, asks=(ask,))


def _prepare_least(table: Path, asking: int | None, algorithm: str, folder: Path) -> Launch:
    ask = least_ask(algorithm)
    if asking is None:
        return least_server(algorithm, ask)
    varied = _in_turn(folder, asking, bench_secret())
    return least_server(algorithm, replace(ask, varied=varied), table)


def _in_turn(folder: Path, count: int, secret: str) -> Callable[[float], Varied]:
    """Return what makes the headers of a load: of ``count`` clients, one after the other.

    Where there are enough, the next load is of others: who has asked in the last minute is noted as
    used already, so a measurement after its warm-up would have half of that to do.
    """
    files = [folder / f"authorization-{number}" for number in range(2)]
    names = list(_asking(count))
    halves = (names[::2], names[1::2]) if count > MOST_ASKED_IN_A_LOAD else (names, names)
    for file, half in zip(files, halves, strict=True):
        file.write_text("\n".join(basic(name, secret) for name in half))
    turns = cycle(files)
    return lambda _: Varied("authorization", next(turns))


def _asking(count: int) -> Iterator[str]:
    """Return the clients that ask, in the order in which they do."""
    most = 2 * MOST_ASKED_IN_A_LOAD
    return map(_name, random.Random(SEED).sample(range(count), min(count, most)))  # noqa: S311


def _name(number: int) -> str:
    return f"client-{number}"


def _make_table(file: Path) -> None:
    """Write the clients of the least server, in the order of their names."""
    secret = bench_secret()
    rows = (
        (name, sha256(f"{name}:{secret}".encode()).digest())
        for name in ("bench", *sorted(map(_name, range(IN_THE_TABLE))))
    )
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(
            "CREATE TABLE clients (client_id TEXT PRIMARY KEY, credentials_hash BLOB NOT NULL)"
            " WITHOUT ROWID"
        )
        database.executemany("INSERT INTO clients VALUES (?, ?)", rows)


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
