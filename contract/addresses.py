"""Which addresses may be connected to: public ones, and the private networks that the settings name."""

import ipaddress
import math
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore

from contract.errors import AddressRefusedError

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses whose last four bytes are an IPv4 address (RFC 6052)."""

COMPATIBLE = ipaddress.IPv6Network("::/96")
"""The same in an older form, deprecated (RFC 4291)."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def may_connect(address: str, networks: Iterable[Network] = ()) -> bool:
    """Return whether requests may go to an address.

    Refused are loopback, link-local with the clouds' metadata services, private, shared (CGNAT), multicast
    and reserved addresses, in every form in which IPv6 holds an IPv4 address.

    Args:
        networks: private networks that are allowed
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    every = list(_forms(parsed))
    if any(form in network for network in networks for form in every if form.version == network.version):
        return True
    return all(map(_is_public, every))


def _is_public(address: Address) -> bool:
    local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (address.is_multicast or address.is_reserved or local)


def _forms(address: Address) -> Iterator[Address]:
    """Yield the address that is meant: of IPv6 forms that hold an IPv4 address, that one."""
    if not isinstance(address, ipaddress.IPv6Address):
        yield address
        return
    teredo = address.teredo
    held = address.ipv4_mapped or address.sixtofour or (teredo and teredo[1])
    if held is None and (address in NAT64 or address in COMPATIBLE):
        held = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if held is None:
        yield address
    else:
        yield held


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were checked right before, so that no second look-up can change them.

    With a deadline, everything ends there, however slowly a server sends.

    Args:
        networks: private networks that are allowed
        setting: the environment variable that names them, for messages
        seconds: from now to the deadline
    """

    def __init__(self, networks: Iterable[Network], setting: str, seconds: float = math.inf) -> None:
        self._networks = tuple(networks)
        self._setting = setting
        self._deadline = time.monotonic() + seconds
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve the host once, and connect to one of its addresses.

        Raises:
            AddressRefusedError: an address of the host is refused
            httpcore.ConnectError: the host is unknown, or does not answer
        """
        last: httpcore.ConnectError | None = None
        for address in self._resolved(host, port):
            left = _left(self._deadline, timeout)
            try:
                stream = self._sockets.connect_tcp(address, port, left, local_address, socket_options)
            except httpcore.ConnectError as error:
                last = error
            else:
                return _BoundedStream(stream, self._deadline)
        raise last or httpcore.ConnectError(f"{host} has no address")

    def _resolved(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} has no address: {error}") from error
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        for address in addresses:
            if not may_connect(address, self._networks):
                raise AddressRefusedError(
                    f"{host} is at {address}, which is not public: allow its network in {self._setting} if "
                    "that is meant"
                )
        return addresses


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, timeout)
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float | None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline has passed")
    return min(left, math.inf if timeout is None else timeout) if left < math.inf else timeout
