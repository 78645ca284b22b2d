"""A process in which a package is not installed."""

import sys

import pytest


class Without:
    """An import machinery that does not find ``missing``."""

    def __init__(self, missing: str) -> None:
        self.missing = missing

    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        if name == self.missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def without_package(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Let imports of ``package`` fail, and forget what was imported of it."""
    for module in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Without(package), *sys.meta_path])
