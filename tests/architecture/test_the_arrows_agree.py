"""Diagram, enum, README table and code name the same five arrows, in the same words and places."""

import hashlib
import re
from pathlib import Path

import pytest

from shared.arrows import Arrow

ROOT = Path(__file__).resolve().parents[2]
DIAGRAM = ROOT / "diagrams" / "client_credentials.puml"
SERVICES = ("auth_server", "resource_server", "client_service")
LONGEST_ARROW_FILES = 600

ARROW_LINE = re.compile(r"^(\w+) --?> (\w+) : (.+)$", re.MULTILINE)
TABLE_ROW = re.compile(r"^\| (\d) \| (.+?) \| `Arrow\.(\w+)` \| \[`(.+?)`\]\((.+?)#L(\d+)\) \|",
                       re.MULTILINE)  # fmt: skip


def code_places(symbol: str) -> list[tuple[str, int]]:
    """Return (file, line number) of each line of the services that names ``symbol``."""
    return [
        (str(file.relative_to(ROOT)), number)
        for service in SERVICES
        for file in sorted((ROOT / service).rglob("*.py"))
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if re.search(rf"\b{re.escape(symbol)}\b", line)
    ]


def readme_table() -> dict[str, tuple[int, str, str, str, int]]:
    rows = TABLE_ROW.findall((ROOT / "README.md").read_text())
    return {row[2]: (int(row[0]), row[1], row[3], row[4], int(row[5])) for row in rows}


def test_the_diagram_draws_the_arrows_of_the_enum_in_their_order() -> None:
    drawn = ARROW_LINE.findall(DIAGRAM.read_text())

    assert drawn == [(arrow.source, arrow.target, arrow.words) for arrow in Arrow]


def test_the_arrows_are_numbered_as_the_diagram_numbers_them() -> None:
    assert "autonumber" in DIAGRAM.read_text().splitlines()
    assert [arrow.number for arrow in Arrow] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("arrow", Arrow, ids=lambda arrow: arrow.name)
def test_each_arrow_starts_at_exactly_one_place_in_the_code(arrow: Arrow) -> None:
    assert len(code_places(f"Arrow.{arrow.name}")) == 1


@pytest.mark.parametrize("arrow", Arrow, ids=lambda arrow: arrow.name)
def test_the_table_of_the_readme_links_each_arrow_to_its_line(arrow: Arrow) -> None:
    number, words, file, link, line = readme_table()[arrow.name]

    assert (number, words) == (arrow.number, arrow.words)
    assert link == file
    assert [(file, line)] == code_places(f"Arrow.{arrow.name}")


def test_the_docstring_of_each_arrow_file_begins_with_its_number() -> None:
    first_lines = {
        number: (ROOT / file).read_text().splitlines()[0]
        for number, _, file, _, _ in readme_table().values()
    }

    assert [number for number, line in first_lines.items() if f"Arrow {number}:" not in line] == []


def test_the_five_arrow_files_are_short_enough_to_be_read() -> None:
    files = {file for _, _, file, _, _ in readme_table().values()}

    lines = sum(len((ROOT / file).read_text().splitlines()) for file in files)

    assert len(files) == 5
    assert lines < LONGEST_ARROW_FILES


def test_the_picture_is_of_this_source() -> None:
    picture = DIAGRAM.with_suffix(".svg").read_text()

    assert hashlib.sha256(DIAGRAM.read_bytes()).hexdigest() in picture
    assert [
        arrow.words for arrow in Arrow if arrow.words.replace("&", "&amp;") not in picture
    ] == []


def test_the_picture_stands_at_the_top_of_the_readme() -> None:
    start = (ROOT / "README.md").read_text()[:1500]

    assert "(diagrams/client_credentials.svg)" in start
