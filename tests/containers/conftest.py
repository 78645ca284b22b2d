from collections.abc import Callable, Iterator

import docker
import pytest

from tests.conftest import HEALED
from tests.stack.container_stack import container_stack
from tests.stack.fragile_containers import FragileContainers

SETTINGS = {
    # A token ends while a test waits, and the bank's leeway lets one last that long all the same.
    "auth-server": {"AUTH_SERVER_ACCESS_TOKEN_LIFETIME_SECONDS": "6"},
    "resource-server": {
        "RESOURCE_SERVER_LEEWAY_SECONDS": "120",
        "RESOURCE_SERVER_WORKERS": "1",  # of more, each fetches the keys for itself
    },
}

Healed = Callable[[float], None]


@pytest.fixture(scope="session")
def fragile(
    containers_can_run: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FragileContainers]:
    """A system of its own: its tests break it, and leave it whole."""
    folder = tmp_path_factory.mktemp("a fragile stack of containers")
    with container_stack(folder, SETTINGS) as stack:
        engine = docker.from_env()
        try:
            yield FragileContainers(stack, engine)
        finally:
            engine.close()


@pytest.fixture
def healed(record_property: Callable[[str, object], None]) -> Healed:
    """Record how long it took; the summary tells it."""
    return lambda seconds: record_property(HEALED, seconds)
