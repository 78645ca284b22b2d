"""Every link of the documents leads somewhere, and every command is one that exists."""

import re
from pathlib import Path

import pytest

from auth_server.registry import new_secret

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    file
    for file in [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("tests/*/README.md")]
    if ".venv" not in file.parts
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
MAKE_TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)
MAKE_CALL = re.compile(r"\bmake (?:-s )?([a-z]+)\b")
CODE_BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_leads_to_a_file(document: Path) -> None:
    targets = [link.partition("#")[0] for link in LINK.findall(document.read_text())]
    local = [target for target in targets if target and "://" not in target]

    assert [target for target in local if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_make_command_exists(document: Path) -> None:
    text = document.read_text()
    code = "\n".join([*CODE_BLOCK.findall(text), *INLINE_CODE.findall(text)])
    targets = set(MAKE_TARGET.findall((ROOT / "Makefile").read_text()))

    assert set(MAKE_CALL.findall(code)) - targets == set()


def test_every_target_of_the_makefile_is_explained() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    targets = [line for line in lines if re.match(r"[a-z-]+:", line)]

    assert [line for line in targets if " ## " not in line] == []


def test_the_expression_for_secret_scanners_finds_our_secrets() -> None:
    published = re.search(r"^(ccs_\S+)$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)

    assert published is not None
    assert re.fullmatch(published.group(1), new_secret()) is not None
