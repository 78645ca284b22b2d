"""The first lines that a stranger may see when something of their machine is missing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MAKE = shutil.which("make")


def make_up(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    assert MAKE is not None
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    return subprocess.run(
        [MAKE, "up", f"PYTHON={python}"], cwd=folder, capture_output=True, text=True, check=False
    )


def a_python_that(folder: Path, *, fails_on: str) -> str:
    """Return a Python that fails on scripts that contain a word, as one that lacks it would."""
    script = folder / "a python"
    script.write_text(
        f'#!/bin/sh\ncase "$2" in *{fails_on}*) exit 1;; esac\nexec "{sys.executable}" "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("fails_on", "line"),
    [
        pytest.param("version_info", "is too old: Python 3.11 or newer is needed", id="too old"),
        pytest.param("ensurepip", "has no venv module: install it", id="no venv"),
    ],
)
def test_what_is_missing_is_said_in_one_clear_line(
    tmp_path: Path, fails_on: str, line: str
) -> None:
    folder = tmp_path / "a path with spaces"
    folder.mkdir()

    result = make_up(folder, a_python_that(tmp_path, fails_on=fails_on))

    said = [text for text in result.stderr.splitlines() if not text.startswith("make")]
    assert result.returncode != 0
    assert len(said) == 1
    assert line in said[0]


def test_without_any_python_the_line_says_how_to_name_one(tmp_path: Path) -> None:
    result = make_up(tmp_path, "")

    assert "Python 3.11 or newer is needed; none was found" in result.stderr
