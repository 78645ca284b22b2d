import pytest

from shared.origins import is_https_or_loopback, origin_of


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin_of("HTTPS://Bank.example/account?x=1") == ("https", "bank.example", 443)
    assert origin_of("http://localhost:9001") == ("http", "localhost", 9001)


def test_a_port_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"[Pp]ort"):
        origin_of("http://bank.example:99999/")


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
