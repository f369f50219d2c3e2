"""Only public addresses may be connected to, however they are written."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from datumaro_clip.errors import AddressError, OptionError
from datumaro_clip.system.addresses import is_permitted, parse_networks, public_addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.10", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1", "fc00::1", "ff02::1",
        "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(address: str):
    assert not is_permitted(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_public_ones_are_permitted(address: str):
    assert is_permitted(ipaddress.ip_address(address))


def test_a_network_may_be_allowed():
    allowed = parse_networks(["127.0.0.1", "10.0.0.0/8"])
    assert is_permitted(ipaddress.ip_address("10.9.9.9"), allowed)
    assert not is_permitted(ipaddress.ip_address("127.0.0.2"), allowed)
    with pytest.raises(OptionError, match="--allow-address: 'nope'"):
        parse_networks(["nope"])


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch):
    def look_up(*args: Any, **kwargs: Any) -> list[Any]:
        return [(0, 0, 0, "", ("1.1.1.1", 80)), (0, 0, 0, "", ("192.168.0.7", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(AddressError, match=r"a\.example is 192\.168\.0\.7, which is no public address"):
        public_addresses("a.example", 80)


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
def test_other_spellings_of_this_machine_are_refused(host: str):
    with pytest.raises(AddressError):
        public_addresses(host, 80)


def test_what_is_no_name_is_an_error():
    with pytest.raises(OSError, match="is no name of a host"):
        public_addresses("a" * 70 + ".example", 80)
