"""The RFC indexes of the services name what exists, and no conformance file is left out."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFORMANCE = ROOT / "tests" / "conformance"
SERVICES = ("auth_server", "resource_server")
ROW = re.compile(
    r"^\| (?P<statement>[^|]+) \| (?P<section>[^|]+) \| \[`(?P<file>.+?)`\]\((?P<path>.+?)\)"
    r" \| \[`(?P<test>.+?)`\]\((?P<test_file>.+?)\) \|$",
    re.MULTILINE,
)
SECTION = re.compile(r"(RFC \d+|OAuth 2\.1|OpenID Connect \w+) §\d[\d.]*|§\d[\d.]*|App\. [A-Z]")
OF_NO_RFC = re.compile(r"OWASP API\d:2023|OpenAPI 3\.\d")


@dataclass(frozen=True)
class Row:
    """A line of an index; its paths are those of the files themselves."""

    statement: str
    section: str
    file: str
    path: Path
    test: str
    test_file: Path


def index_of(service: str) -> str:
    readme = (ROOT / service / "README.md").read_text()
    return readme.partition("\n## RFC index\n")[2].partition("\n## ")[0]


def rows_of(service: str) -> list[Row]:
    return [
        Row(
            row["statement"],
            row["section"],
            row["file"],
            ROOT / service / row["path"],
            f"test_{row['test']}",
            (ROOT / service / row["test_file"]).resolve(),
        )
        for row in ROW.finditer(index_of(service))
    ]


def functions_in(file: Path) -> set[str]:
    """Return the names of the functions of ``file``."""
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("service", SERVICES)
def test_every_line_of_an_index_is_read_here(service: str) -> None:
    lines = [line for line in index_of(service).splitlines() if line.startswith("| ")]
    headers = [line for line in lines if line.startswith("| Statement |")]

    assert headers != []
    assert len(rows_of(service)) == len(lines) - len(headers)


@pytest.mark.parametrize("service", SERVICES)
def test_an_index_names_files_that_exist(service: str) -> None:
    assert [row for row in rows_of(service) if not row.path.is_file()] == []
    assert [row for row in rows_of(service) if row.path.name != Path(row.file).name] == []


@pytest.mark.parametrize("service", SERVICES)
def test_an_index_names_tests_that_exist(service: str) -> None:
    assert [row for row in rows_of(service) if row.test not in functions_in(row.test_file)] == []


@pytest.mark.parametrize("service", SERVICES)
def test_an_index_names_a_section_of_each_statement(service: str) -> None:
    assert [
        row.statement
        for row in rows_of(service)
        for part in row.section.split(", ")
        if not (SECTION.fullmatch(part) or OF_NO_RFC.fullmatch(part))
    ] == []


def test_every_conformance_file_stands_in_the_table_of_the_statements() -> None:
    table = (CONFORMANCE / "README.md").read_text()
    names = [file.stem.removeprefix("test_") for file in CONFORMANCE.glob("test_*.py")]

    assert [name for name in sorted(names) if name not in table] == []


def test_every_conformance_file_of_the_two_servers_stands_in_an_index() -> None:
    named = {row.test_file for service in SERVICES for row in rows_of(service)}
    files = {file for file in CONFORMANCE.glob("test_*.py") if not file.stem.endswith("_client")}

    assert sorted(file.name for file in files - named) == []
