import pytest

from auth_server.client_authentication.public_address import is_public


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "192.0.9.1", "2606:4700::1111", "2a00:1450:4001::8a", "::ffff:8.8.8.8",
     "64:ff9b::808:808", "2002:808:808::1"],
)  # fmt: skip
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address) is True


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1",  # noqa: S104
     "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1",
     "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
     "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1",
     "2001:db8::1", "100::1", "2001::1", "5f00::1",
     "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:224.0.0.1",
     "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
     "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::1", "2002:a00:1::1"],
)  # fmt: skip
def test_any_other_address_is_not_public(address: str) -> None:
    assert is_public(address) is False


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f.1", "1.2.3.4.5", "fe80::1::2"])
def test_what_is_no_address_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        is_public(text)


def test_an_address_with_a_zone_is_of_a_link() -> None:
    assert is_public("fe80::1%eth0") is False
