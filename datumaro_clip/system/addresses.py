"""Decide which network addresses may be connected to, by the address itself and not by its name."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from datumaro_clip.errors import AddressError, OptionError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# Addresses with this prefix hold an IPv4 address in their last 32 bits: RFC 6052 (NAT64).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def public_addresses(host: str, port: int, allowed: Sequence[Network] = ()) -> list[str]:
    """Look up the addresses of a host, and return them if all of them may be connected to.

    Connect to one of these, not to the name: a second look-up may give other addresses.

    Parameters
    ----------
    host : str
        A name, or an address as text.
    port : int
    allowed : sequence of network
        Networks that may be connected to although they are not public.

    Raises
    ------
    AddressError
        If an address is private, loopback, link-local, multicast, reserved or unspecified, or embeds such an IPv4
        address.
    OSError
        If the name has no address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise OSError(f"{host!r} is no name of a host") from exc
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for text in addresses:
        if not is_permitted(ipaddress.ip_address(text.partition("%")[0]), allowed):
            raise AddressError(f"{host} is {text}, which is no public address; --allow-address lets it in")
    return addresses


def is_permitted(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """Return whether an address is public, or in a network that is allowed."""
    if any(address in network for network in allowed):
        return True
    if (inner := _embedded(address)) is not None:
        return is_permitted(inner, allowed)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address inside an IPv6 address; None if there is none."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parse networks such as ``10.0.0.0/8``, or single addresses; raise :class:`OptionError` for anything else."""
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
    except ValueError as exc:
        raise OptionError(f"--allow-address: {exc}; write it as 127.0.0.1 or 10.0.0.0/8") from exc
