import pytest

from shared.identifiers import is_identifier


@pytest.mark.parametrize(
    "text", ["bank-reconciler", "A_1", "x" * 128], ids=["name", "short", "128"]
)
def test_letters_digits_hyphen_and_underscore_make_an_identifier(text: str) -> None:
    assert is_identifier(text) is True


@pytest.mark.parametrize(
    "text",
    ["", "x" * 129, "a b", "a\x00", "a\n", "../a", "é", "\u0661"],
    ids=["empty", "129", "space", "nul", "newline", "path", "accent", "arabic digit"],
)
def test_anything_else_does_not(text: str) -> None:
    assert is_identifier(text) is False
