"""Where Redis is and how one logs in there, from the options of a bus or an event source."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from api import durations
from eventbus.errors import BusError

PORT = 6379


class BadServer(BusError):
    """The options do not say where Redis is."""

    reason = "HostUnknown"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One server, a cluster, or the master of Sentinels; times in seconds."""

    hosts: tuple[tuple[str, int], ...]
    user: str = ""
    password: str = ""
    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    db: int = 0
    master: str = ""
    """Name of Sentinel's master; empty: hosts are the servers themselves."""
    sentinel_user: str = ""
    sentinel_password: str = ""
    cluster: bool = False
    dial: float = 5.0
    read: float = 3.0

    @property
    def where(self) -> str:
        return ",".join(f"{host}:{port}" for host, port in self.hosts)


def read_server(options: Mapping[str, str]) -> Server:
    """From the fields of an EventSource or a component; raises BadServer."""
    cluster, failover = options.get("redisType", "node") == "cluster", options.get("failover", "").lower() == "true"
    if options.get("redisType", "node") not in {"node", "cluster"}:
        raise BadServer(f"redisType {options['redisType']!r} is not known", hint="write node or cluster")
    if failover and (cluster or not options.get("sentinelMasterName")):
        raise BadServer("failover needs sentinelMasterName, and redisType node", hint="name Sentinel's master")
    if cluster and options.get("redisDB", "0") != "0":
        raise BadServer("a cluster has database 0 only", hint="leave redisDB out")
    return Server(
        hosts=tuple(_host(one.strip()) for one in options.get("redisHost", "").split(",")),
        user=options.get("redisUsername", ""),
        password=options.get("redisPassword", ""),
        tls=options.get("enableTLS", "").lower() == "true" or bool(options.get("caCert")),
        ca=options.get("caCert", ""),
        cert=options.get("clientCert", ""),
        key=options.get("clientKey", ""),
        db=int(options.get("redisDB", "0")),
        master=options["sentinelMasterName"] if failover else "",
        sentinel_user=options.get("sentinelUsername", ""),
        sentinel_password=options.get("sentinelPassword", ""),
        cluster=cluster,
        dial=seconds(options, "dialTimeout", 5.0) or 5.0,
        read=seconds(options, "readTimeout", 3.0) or 3.0,
    )


def _host(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text else (text, "", str(PORT))
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise BadServer(f"redisHost {text!r} does not hold", hint="write host:6379")
    return host.strip("[]"), int(port)


def seconds(options: Mapping[str, str], name: str, default: float) -> float:
    """A Go duration, or a number of milliseconds as Dapr has it."""
    text = options.get(name, "")
    if not text:
        return default
    try:
        parsed = timedelta(milliseconds=int(text)) if text.isdigit() else durations.parse(text)
    except (ValueError, OverflowError) as error:
        raise BadServer(f"{name} {text!r} does not hold", hint="write one such as 15s") from error
    return parsed.total_seconds()
