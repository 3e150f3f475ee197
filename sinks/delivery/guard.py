"""No webhook reaches a private address: the guard against server-side request forgery.

Every address is vetted where the socket for it is made, after any name was resolved, so there is no second look-up
that could answer differently (DNS rebinding), and an address written into the URL passes the same gate.
"""

import asyncio
import errno
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_DENIED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, the clouds' metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
"""All there is of public IPv6. Loopback, ULA, link-local, multicast, NAT64 (64:ff9b::/96) are outside of it."""
_DENIED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: any IPv4 address in disguise
        "3fff::/20",  # documentation
    )
)
_RESOLVER_THREADS = 64


class BlockedAddress(OSError):
    """The destination is no public address, or the name stands for none. Repeating will not help; its owner must act."""

    def __init__(self, host: str) -> None:
        super().__init__(errno.EACCES, f"{host} is not a public address")


class Guard:
    """Decides which addresses may be dialled; `allowed` opens networks that are closed by default."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def permits(self, host: str) -> bool:
        """Tell whether a numeric address may be dialled. What is not plainly an address may not."""
        try:
            address = unmapped(ip_address(host))
        except ValueError:
            return False
        if any(address in network for network in self._allowed):
            return True
        if isinstance(address, IPv4Address):
            return not any(address in network for network in _DENIED_V4)
        return not address.scope_id and address in _GLOBAL_V6 and not any(address in network for network in _DENIED_V6)

    def make_socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one address about to be dialled. Raises BlockedAddress: the gate nothing gets around."""
        family, kind, protocol, _, address = addr_info
        if not self.permits(str(address[0])):
            raise BlockedAddress(str(address[0]))
        return socket.socket(family, kind, protocol)


def unmapped(address: Address) -> Address:
    """Return the IPv4 address inside `::ffff:a.b.c.d`, any other address as it is."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class GuardedResolver(AbstractResolver):
    """Resolves names to the vetted ones of their addresses, on threads of its own, within `timeout` seconds.

    Raises BlockedAddress when none is left, OSError (ETIMEDOUT), or the system's resolver error.
    """

    def __init__(self, guard: Guard, timeout: float) -> None:
        self._guard = guard
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up."""
        loop = asyncio.get_running_loop()
        looking = loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        )
        try:
            found = await asyncio.wait_for(looking, self._timeout)
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, f"not looked up within {self._timeout:g} s") from None
        vetted = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
            if self._guard.permits(str(address[0]))
        ]
        if not vetted:
            raise BlockedAddress(host)
        return vetted

    async def close(self) -> None:
        """Let go of the threads; a look-up that hangs is left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks in CIDR notation. Raises ValueError."""
    return tuple(ip_network(text) for text in texts)
