import os
from collections.abc import Iterator

import pytest

from shared.settings import SECRETS_DIR_VARIABLE, STATE_DIR_VARIABLE
from tests.stack import Stack
from tests.stack.local_stack import local_stack

OURS = ("AUTH_SERVER_", "RESOURCE_SERVER_", "CLIENT_SERVICE_", "OTEL_")


@pytest.fixture(autouse=True)
def _an_environment_without_our_settings(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test reads the settings or the state of a system that a developer runs beside it."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.delenv(SECRETS_DIR_VARIABLE, raising=False)
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running system that the tests of one test process share: none of them may break it."""
    running = local_stack(tmp_path_factory.mktemp("a stack"))
    try:
        running.demo.up()
        yield running
    finally:
        running.demo.down()
