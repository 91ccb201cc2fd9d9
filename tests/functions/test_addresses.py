from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.addresses import network


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("nonsense", "nonsense"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_a_host_cannot_choose_another_address_of_its_own_network(address: str, counted_as: str) -> None:
    assert network(address) == counted_as


@given(st.ip_addresses())
def test_every_address_has_a_network(address: object) -> None:
    assert network(str(address))
