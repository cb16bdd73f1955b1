"""The state API over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.components.protocols import Change, Concurrency, Consistency, Item, Remove, Write
from proxy.dapr.errors import DaprError, malformed
from proxy.dapr.runtime import Runtime
from proxy.dapr_http.call import Call, Reply, json_reply, metadata_headers

DONE = Reply(204)
MOST = 10_000
"""Keys of one request."""


class Options(msgspec.Struct, frozen=True):
    concurrency: Concurrency = ""
    consistency: Consistency = ""


class Saved(msgspec.Struct, frozen=True):
    """One key to set; *value* is stored as the JSON that stands there."""

    key: str = ""
    value: msgspec.Raw = msgspec.Raw(b"null")
    etag: str | None = None
    metadata: dict[str, str] | None = None
    options: Options | None = None


class BulkGet(msgspec.Struct, frozen=True):
    keys: list[str] = []
    metadata: dict[str, str] | None = None
    parallelism: int = 0


class Operation(msgspec.Struct, frozen=True):
    operation: str = ""
    request: Saved = Saved()


class Transaction(msgspec.Struct, frozen=True):
    operations: list[Operation] = []
    metadata: dict[str, str] | None = None


_saved = msgspec.json.Decoder(list[Saved])
_bulk = msgspec.json.Decoder(BulkGet)
_transaction = msgspec.json.Decoder(Transaction)
_any = msgspec.json.Decoder()


class StateApi:
    def __init__(self, runtime: Runtime) -> None:
        self._state = runtime.state

    async def get(self, call: Call) -> Reply:
        item = await self._state.get(call.caller, call.params["store"], call.params["key"], call.metadata)
        if item is None:
            return DONE
        headers = [(b"etag", item.etag.encode())] if item.etag else []
        return Reply(200, item.value, headers=[*headers, *metadata_headers(item.metadata)])

    async def get_bulk(self, call: Call) -> Reply:
        asked = await call.json(_bulk)
        if len(asked.keys) > MOST:
            raise malformed(f"{len(asked.keys)} keys are more than {MOST}")
        metadata = {**(asked.metadata or {}), **call.metadata}
        found = await self._state.get_bulk(call.caller, call.params["store"], asked.keys, metadata, asked.parallelism)
        return json_reply([_told(one.key, one.item, one.error) for one in found])

    async def save(self, call: Call) -> Reply:
        items = await call.json(_saved)
        if len(items) > MOST:
            raise malformed(f"{len(items)} keys are more than {MOST}")
        if not all(item.key for item in items):
            raise malformed('"key" is a required field')
        common = call.metadata
        await self._state.save(call.caller, call.params["store"], [_write(item, common) for item in items])
        return DONE

    async def delete(self, call: Call) -> Reply:
        etag = call.header(b"if-match")
        options = _query_options(call)
        remove = Remove(
            key=call.params["key"],
            etag=etag or None,
            concurrency=options.concurrency,
            consistency=options.consistency,
            metadata=call.metadata,
        )
        await self._state.delete(call.caller, call.params["store"], remove)
        return DONE

    async def transact(self, call: Call) -> Reply:
        asked = await call.json(_transaction)
        metadata = {**(asked.metadata or {}), **call.metadata}
        changes = [_change(operation, metadata) for operation in asked.operations]
        await self._state.transact(call.caller, call.params["store"], changes, metadata)
        return DONE


def _query_options(call: Call) -> Options:
    given = {name: call.parameter(name) for name in ("concurrency", "consistency")}
    try:
        return msgspec.convert(given, Options)
    except msgspec.ValidationError as error:
        raise malformed(str(error)) from error


def _write(item: Saved, common: dict[str, str]) -> Write:
    options = item.options or Options()
    return Write(
        key=item.key,
        value=bytes(item.value),
        etag=item.etag,
        concurrency=options.concurrency,
        consistency=options.consistency,
        metadata={**(item.metadata or {}), **common},
    )


def _change(operation: Operation, common: dict[str, str]) -> Change:
    request = operation.request
    if not request.key:
        raise malformed('"key" is a required field')
    if operation.operation == "upsert":
        return _write(request, common)
    if operation.operation != "delete":
        message = f"operation type {operation.operation[:40]} not supported"
        raise DaprError(400, "INVALID_ARGUMENT", "ERR_NOT_SUPPORTED_STATE_OPERATION", message)
    options = request.options or Options()
    return Remove(
        key=request.key,
        etag=request.etag,
        concurrency=options.concurrency,
        consistency=options.consistency,
        metadata={**(request.metadata or {}), **common},
    )


def _told(key: str, item: Item | None, error: str) -> dict[str, Any]:
    """One entry of a bulk answer."""
    if error:
        return {"key": key, "error": error}
    if item is None:
        return {"key": key}
    told: dict[str, Any] = {"key": key, "data": _json(item.value), "etag": item.etag}
    return {**told, "metadata": item.metadata} if item.metadata else told


def _json(value: bytes) -> object:
    """A value where JSON must stand: as it is, else as text (base64 where it is no text either)."""
    try:
        _any.decode(value)
        return msgspec.Raw(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
