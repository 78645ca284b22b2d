import pytest

from auth_server.registry.registered_client import _CLIENT
from auth_server.registry.rotation import Order
from tests.unit.auth_server.registry.rotating import CLIENT, DAY, ENTRY, Place, Rotating
from tests.unit.auth_server.running import Clock

EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}


def plan(rotating: Rotating) -> str:
    """Return how the database finds a client, where it avoids to read whole tables if it can."""
    engine = rotating.database.engine
    explain = EXPLAIN[engine.dialect.name]
    compiled = _CLIENT.compile(engine)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")  # so it does in small tables
        given = compiled.construct_params({"client_id": CLIENT, "now": 1})
        parameters = tuple(given[name] for name in compiled.positiontup or ()) or given
        rows = connection.exec_driver_sql(explain + str(compiled), parameters)
        return "\n".join(str(row[-1]) for row in rows)


def test_a_client_is_found_by_indexes_alone(any_place: Place) -> None:
    with any_place.opened() as rotating:
        used = plan(rotating)
    assert "client_secrets_client_id" in used
    assert [line for line in used.splitlines() if "Seq Scan" in line or "SCAN" in line] == []


@pytest.mark.parametrize("rotations", [1, 12])
def test_however_often_a_secret_was_rotated_the_live_ones_alone_are_read(
    rotating: Rotating, clock: Clock, rotations: int
) -> None:
    for _ in range(rotations):
        rotating.rotate(Order(CLIENT, ENTRY, overlap=DAY))
        clock.time += DAY
    found = rotating.registry.find_client(CLIENT)
    assert found is not None
    assert len(found.secrets) == 1
