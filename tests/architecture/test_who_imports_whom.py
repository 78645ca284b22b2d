"""The services stand apart, and `shared` stays small."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED_FOR_GUNICORN = re.compile(r"shared\.\w+\.\w+Worker")
SERVICES = ("auth_server", "resource_server", "client_service")
COPIED_OF_THE_BANK = {
    "resource_server.token_validation",
    "resource_server.issuer_keys",
    "shared.arrows",
    "shared.at_hand",
}
COPIED_OF_THE_CLIENT = {
    "client_service.token_source",
    "client_service.token_messages",
    "client_service.token_renewal",
    "client_service.retries",
    "client_service.issuer_metadata",
    "client_service.bearer_auth",
    "shared.arrows",
}


def imports_of(package: str) -> dict[Path, set[str]]:
    """Return the modules that each file of ``package`` imports, by their full names."""
    return {file: _imported(file) for file in sorted((ROOT / package).rglob("*.py"))}


def _imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import hides where a name comes from"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and NAMED_FOR_GUNICORN.fullmatch(str(node.value)):
            names.add(str(node.value).rpartition(".")[0])
    return names


def top_level(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other_service_and_no_demo(service: str) -> None:
    others = {*SERVICES, "demo", "tests"} - {service}

    offenders = {
        str(file): top_level(names) & others
        for file, names in imports_of(service).items()
        if top_level(names) & others
    }

    assert offenders == {}


def test_shared_imports_no_service_and_no_authlib() -> None:
    forbidden = {*SERVICES, "demo", "tests", "authlib", "joserfc"}

    offenders = {
        str(file): top_level(names) & forbidden
        for file, names in imports_of("shared").items()
        if top_level(names) & forbidden
    }

    assert offenders == {}


def shared_modules() -> list[str]:
    """Return the modules of `shared`, a package within it as one."""
    files = (ROOT / "shared").iterdir()
    return sorted(f"shared.{file.stem}" for file in files if not file.name.startswith("_"))


@pytest.mark.parametrize("module", shared_modules())
def test_a_module_of_shared_serves_at_least_two_services(module: str) -> None:
    within_shared = {
        f"shared.{file.stem}": {name for name in names if name.startswith("shared.")}
        for file, names in imports_of("shared").items()
    }
    users = {
        service
        for service in SERVICES
        if module in reachable(set().union(*imports_of(service).values()), within_shared)
    }

    assert len(users) >= 2, users


def reachable(names: set[str], within_shared: dict[str, set[str]]) -> set[str]:
    """Return ``names`` and the modules of `shared` that those import in turn."""
    found, waiting = set(names), list(names)
    while waiting:
        for name in within_shared.get(waiting.pop(), set()) - found:
            found.add(name)
            waiting.append(name)
    return found


@pytest.mark.parametrize(
    "taken",
    [
        COPIED_OF_THE_CLIENT,
        COPIED_OF_THE_CLIENT | {"client_service.private_key_jwt"},
        COPIED_OF_THE_BANK,
    ],
    ids=["token source", "token source with a key", "token check"],
)
def test_what_is_meant_to_be_copied_needs_nothing_else_of_ours(taken: set[str]) -> None:
    needed = {
        name
        for module in taken
        for name in _imported(ROOT / f"{module.replace('.', '/')}.py")
        if name.startswith(("shared", *SERVICES))
        and name not in taken
        and name.rpartition(".")[0] not in taken
    }

    assert needed - {*SERVICES} == set()
