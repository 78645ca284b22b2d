from collections.abc import Iterator

import pytest

from tests.stack.local_stack import LocalStack, local_stack


@pytest.fixture(scope="session")
def fragile_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    one_worker = {"AUTH_SERVER_WORKERS": "1", "RESOURCE_SERVER_WORKERS": "1"}  # starts sooner
    stack = local_stack(tmp_path_factory.mktemp("a fragile stack"), **one_worker)
    yield stack
    stack.demo.down()


@pytest.fixture
def own_stack(fragile_stack: LocalStack) -> LocalStack:
    """A running system that a test may stop, kill and break: `up` mends it for the next one."""
    fragile_stack.demo.up()
    return fragile_stack
