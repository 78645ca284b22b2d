"""Each attack's class can be read aloud, names the line that stops it, and stands in the README."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.stories import Line

FOLDER = Path(__file__).parent
FIRST_WORDS = ("The attacker has:", "The attacker does:", "It works where:", "Who stops it:")
ROW = re.compile(r"^\| \[(.+?)\]\((.+?)\) \| .+? \| `(.+?)`: `(.+?)` \|$", re.MULTILINE)


def attacks() -> Iterator[tuple[str, type]]:
    """Return the file and the class of each attack."""
    for file in sorted(FOLDER.glob("test_*.py")):
        module = importlib.import_module(f"tests.attacks.{file.stem}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if member.__module__ == module.__name__ and hasattr(member, "stopped_by"):
                yield file.name, member


ATTACKS = list(attacks())
of_each_attack = pytest.mark.parametrize(
    "attack", [attack for _, attack in ATTACKS], ids=[attack.__name__ for _, attack in ATTACKS]
)


@of_each_attack
def test_an_attack_tells_who_has_what_does_what_and_is_stopped_by_whom(attack: type) -> None:
    paragraphs = inspect.cleandoc(attack.__doc__ or "").split("\n\n")

    assert tuple(" ".join(text.split()[:3]) for text in paragraphs[1:]) == FIRST_WORDS


@of_each_attack
def test_the_line_that_stops_an_attack_is_there_once(attack: type) -> None:
    line: Line = attack.stopped_by  # type: ignore[attr-defined]

    assert len(line.places()) == 1, line


@of_each_attack
def test_an_attack_is_seen_to_work_and_seen_to_fail(attack: type) -> None:
    tests = [name for name in vars(attack) if name.startswith("test_")]

    assert any(name.startswith(("test_a_server_", "test_at_a_server_")) for name in tests)
    assert any("_the_bank_" in name for name in tests)


def test_the_readme_lists_each_attack_with_its_line() -> None:
    rows = ROW.findall((FOLDER / "README.md").read_text())

    assert sorted((file, path, code) for _, file, path, code in rows) == sorted(
        (file, attack.stopped_by.file, attack.stopped_by.code)  # type: ignore[attr-defined]
        for file, attack in ATTACKS
    )
