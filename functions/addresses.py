"""Addresses that requests come from, as they are counted."""

from __future__ import annotations

import ipaddress

#: Of what is no address, so many characters tell one from another.
_MAX_TEXT = 64


def network(address: str) -> str:
    """Whom an address stands for: itself, or the /64 that a host of IPv6 has to itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_MAX_TEXT]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
