from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stack import Stack
from tests.stack.local_stack import LocalStack, local_stack


@contextmanager
def running(folder: Path) -> Iterator[LocalStack]:
    stack = local_stack(folder)
    try:
        stack.demo.up()
        yield stack
    finally:
        stack.demo.down()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running system that the tests of one test process share: none of them may break it."""
    with running(tmp_path_factory.mktemp("a stack")) as shared_stack:
        yield shared_stack


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[LocalStack]:
    """A running system for one test alone, which may stop, kill and change what it wants."""
    with running(tmp_path / "a stack") as stack:
        yield stack
