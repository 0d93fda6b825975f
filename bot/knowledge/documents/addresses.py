"""Connections to public addresses only: a host's addresses are looked up, checked, and then connected to.

The address that was checked is the one that is connected to, with the host's name in the Host header and in
TLS, so that a name which changes its address in between (DNS rebinding) leads nowhere else. Redirects are new
requests, and so are checked as well. The one place that says which addresses are private.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

import httpx

from bot.errors import NotFetched

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host at a port. Raises OSError when there is no such host."""

_NAT64: Final = ip_network("64:ff9b::/96")
"""IPv6 addresses that translators turn into the IPv4 address at their end (RFC 6052)."""
_SPECIAL: Final = tuple(
    map(
        ip_network,
        # what older Pythons take for global: IETF assignments, 6to4 relays, benchmarks, reserved, site-local
        ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4", "100.64.0.0/10", "fec0::/10"),
    )
)


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, whatever IPv6 address it is dressed in."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _SPECIAL if network.version == address.version)
    )


async def look_up(host: str, port: int) -> list[str]:
    """A host's addresses, as the operating system gives them. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


class CheckedTransport(httpx.AsyncBaseTransport):
    """Carries requests of one client, each to a checked address, or raises NotFetched.

    `allowed` are networks that may be reached though they are private. Each host has connections of its own,
    for a kept connection was opened, and its certificate checked, in one host's name.
    """

    def __init__(self, allowed: Sequence[Network] = (), resolver: Resolver = look_up) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._certificates = httpx.create_ssl_context(trust_env=False)
        self._of_hosts: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first of its host's addresses that answers."""
        host = request.url.raw_host.decode("ascii")
        addresses = await self._checked(request.url, host)
        transport = self._of_hosts.get(host)
        if transport is None:
            transport = self._of_hosts[host] = httpx.AsyncHTTPTransport(
                verify=self._certificates, trust_env=False
            )
        for left, address in enumerate(addresses, 1 - len(addresses)):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # Host is the name's, as the client wrote it
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await transport.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if left == 0:
                    raise
        raise AssertionError("a host has an address")

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._of_hosts.values():
            await transport.aclose()

    async def _checked(self, url: httpx.URL, host: str) -> list[str]:
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = await self._resolver(host, port)
        except (OSError, UnicodeError):  # the latter for names that DNS cannot have
            found = ()
        if not found:
            raise NotFetched(str(url), "unknown host")
        for text in found:
            address = ip_address(text)
            if not is_public(address) and not any(
                address in network for network in self._allowed if network.version == address.version
            ):
                raise NotFetched(str(url), "private", text)
        return list(found)
