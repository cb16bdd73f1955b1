"""HTTP addresses that events may be POSTed to: what ``sink.uri`` may say, and which machines a proxy may connect to.

Whoever writes YAML chooses the address and the proxy connects to it, so what only the proxy can reach must not be
reachable through it: metadata services and other link-local addresses never are. Private addresses are where receivers
usually live and are allowed. Loopback is the machine of the person who writes the YAML when Evoke runs as local
processes, and the proxy's own pod on Kubernetes: allowed there, refused here.

A name says nothing: the address it resolves to is checked with denied() when the connection is made, and that very
address is connected to. Redirects are never followed.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

MAX_LENGTH = 2048

Address: TypeAlias = IPv4Address | IPv6Address

_UNPRINTABLE = re.compile(r"[^\x21-\x7e]|[\\^`{|}<>\"]")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*", re.ASCII)
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_METADATA = frozenset(map(ip_address, ("100.100.100.200", "fd00:ec2::254", "168.63.129.16")))
"""Metadata services of clouds outside of the link-local ranges."""


def defect(url: str) -> str:
    """What is wrong with *url* as the address of a receiver; empty: nothing that can be seen without resolving it."""
    if len(url) > MAX_LENGTH:
        return f"the address is longer than {MAX_LENGTH} characters"
    if not url.startswith(("http://", "https://")):
        return "a sink's address begins with http:// or https://"
    if _UNPRINTABLE.search(url):
        return "an address has no blanks, no control characters and is percent-encoded ASCII"
    try:
        parts = urlsplit(url)
        return _parts_defect(parts, parts.hostname or "", parts.port)
    except ValueError as error:
        return f"not an address: {error}"


def _parts_defect(parts: SplitResult, host: str, port: int | None) -> str:
    wrong = (
        (not host, "the address names no host"),
        (port == 0, "port 0 is none"),
        ("@" in parts.netloc, "credentials do not stand in an address"),
        (bool(parts.fragment), "an address that is sent to has no fragment (#...)"),
    )
    return next((message for holds, message in wrong if holds), "") or _host_defect(host, bracketed="[" in parts.netloc)


def _host_defect(host: str, *, bracketed: bool) -> str:
    address = literal(host)
    if address is not None:
        return denied(address, loopback=True)
    labels = host.removesuffix(".").split(".")
    wrong = (
        (bracketed, "not an IPv6 address"),
        (bool(_NUMBER.fullmatch(labels[-1])), "write an IPv4 address as four decimal numbers"),
        (len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels), "the host is no DNS name"),
    )
    return next((message for holds, message in wrong if holds), "")


def literal(host: str) -> Address | None:
    """The address that *host* is written as; None: it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def denied(address: Address, *, loopback: bool) -> str:
    """Why nothing is sent to *address*; empty: it may be. *loopback*: whether this machine itself may be a receiver."""
    for one in (address, *_inside(address)):
        if one in _METADATA or one.is_link_local:
            return "link-local and metadata addresses take no events"
        if one.is_multicast or one.is_unspecified or (isinstance(one, IPv4Address) and one.is_reserved):
            return "the address is not that of one machine"
        if one.is_loopback and not loopback:
            return "on this substrate loopback is the proxy itself; name the receiver's Service"
    return ""


def is_loopback(url: str) -> bool:
    """Whether *url* names this machine without asking a resolver."""
    host = urlsplit(url).hostname or ""
    address = literal(host)
    if address is None:
        return host == "localhost" or host.endswith((".localhost", "localhost."))
    return any(one.is_loopback for one in (address, *_inside(address)))


def _inside(address: Address) -> list[IPv4Address]:
    """IPv4 addresses that an IPv6 address leads to: mapped, compatible, 6to4, Teredo, NAT64."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or address in _COMPATIBLE:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]
