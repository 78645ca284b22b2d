import pytest

from shared.origins import is_https_or_loopback


@pytest.mark.parametrize(
    ("url", "is_protected"),
    [
        ("https://bank.example", True),
        ("http://localhost:9000", True),
        ("http://127.0.0.1:9000", True),
        ("http://[::1]:9000", True),
        ("http://bank.example", False),
        ("http://localhost.example", False),
        ("http://10.0.0.1", False),
    ],
)
def test_https_and_loopback_are_protected(url: str, is_protected: bool) -> None:
    assert is_https_or_loopback(url) is is_protected
