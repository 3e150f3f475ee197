"""Which addresses a webhook may be sent to."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.delivery.guard import BlockedAddress, Guard, GuardedResolver

CLOSED = Guard()
LOOPBACK_OPEN = Guard([ip_network("127.0.0.0/8"), ip_network("::1/128")])


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_outside_the_public_ones_is_dialled(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert not CLOSED.permits(str(address))


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_outside_the_public_ones_is_dialled(address: IPv6Address) -> None:
    if address.ipv4_mapped is None and (not address.is_global or address.is_multicast or address.is_reserved):
        assert not CLOSED.permits(str(address))


@given(st.ip_addresses(v=4))
def test_a_mapped_address_counts_as_the_one_inside(address: IPv4Address) -> None:
    assert CLOSED.permits(f"::ffff:{address}") == CLOSED.permits(str(address))


@given(st.ip_addresses(v=4))
def test_no_address_in_disguise_is_dialled(address: IPv4Address) -> None:
    number = int(address)
    for prefix in (0x64FF9B << 96, 0x2002 << 112, 0):  # NAT64, 6to4, IPv4-compatible
        inside = prefix | (number << 80 if prefix == 0x2002 << 112 else number)
        assert not CLOSED.permits(str(IPv6Address(inside)))


@given(st.ip_addresses(v=4))
def test_numeric_spellings_that_only_the_system_understands_are_not_dialled(address: IPv4Address) -> None:
    number = int(address)
    for spelling in (str(number), hex(number), oct(number)):
        assert not CLOSED.permits(spelling)
        assert not LOOPBACK_OPEN.permits(spelling)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001:81b::200e"]
)
def test_public_addresses_are_dialled(address: str) -> None:
    assert CLOSED.permits(address)


@pytest.mark.parametrize(
    "address",
    ["100.64.0.1", "169.254.169.254", "192.0.0.1", "198.18.0.1", "255.255.255.255", "0.0.0.0", "fe80::1", "fe80::1%eth0",
     "64:ff9b:1::1", "2001::1", "fd00:ec2::254", "ff02::1", "::", "", "localhost", "8.8.8.8%x", "2606:4700::1111%1"],
)  # fmt: skip
def test_special_addresses_are_not_dialled(address: str) -> None:
    assert not CLOSED.permits(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_a_network_can_be_opened(address: str) -> None:
    assert not CLOSED.permits(address)
    assert LOOPBACK_OPEN.permits(address)
    assert not LOOPBACK_OPEN.permits("10.0.0.1")


def test_no_socket_is_made_for_a_blocked_address() -> None:
    with pytest.raises(BlockedAddress, match="not a public address"):
        CLOSED.make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80)))


@pytest.mark.stack
@pytest.mark.parametrize("name", ["localhost", "0x7f.1", "0x7f000001", "127.1"])
async def test_a_name_of_a_private_address_is_not_resolved(name: str) -> None:
    resolver = GuardedResolver(CLOSED, 2.0)
    try:
        with pytest.raises(BlockedAddress):
            await resolver.resolve(name, 80, socket.AF_UNSPEC)
    finally:
        await resolver.close()


async def test_of_several_addresses_only_the_permitted_ones_are_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 80)) for host in ("10.0.0.1", "8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    resolver = GuardedResolver(CLOSED, 2.0)
    try:
        assert [each["host"] for each in await resolver.resolve("mixed.example", 80)] == ["8.8.8.8"]
    finally:
        await resolver.close()


async def test_a_name_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(5))
    resolver = GuardedResolver(CLOSED, 0.1)
    try:
        with pytest.raises(OSError, match=r"not looked up within 0\.1 s"):
            await resolver.resolve("slow.example", 80)
    finally:
        ended.set()
        await resolver.close()
