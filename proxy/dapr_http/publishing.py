"""Publish and bulk publish over HTTP."""

from __future__ import annotations

import msgspec

from proxy.dapr.messages import Entry
from proxy.dapr.publishing import unreadable
from proxy.dapr.runtime import Runtime
from proxy.dapr_http.call import Call, Reply, json_reply

DONE = Reply(204)
BYTES = "application/octet-stream"


class BulkEntry(msgspec.Struct, frozen=True):
    """One message of a bulk publish, as Dapr's clients write it."""

    entryId: str = ""  # noqa: N815 - Dapr's spelling on the wire
    event: msgspec.Raw = msgspec.Raw()
    contentType: str = ""  # noqa: N815 - Dapr's spelling on the wire
    metadata: dict[str, str] = {}


_entries = msgspec.json.Decoder(list[BulkEntry])
_bytes, _text = msgspec.json.Decoder(bytes), msgspec.json.Decoder(str)


class Publishing:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def publish(self, call: Call) -> Reply:
        content_type = call.header(b"content-type")
        body = await call.body()
        params = call.params
        await self._runtime.publish(
            call.caller, params.get("pubsub", ""), params.get("topic", ""), body, content_type, call.metadata
        )
        return DONE

    async def publish_bulk(self, call: Call) -> Reply:
        pubsub, topic = call.params.get("pubsub", ""), call.params.get("topic", "")
        what = f"error when unmarshaling the request for topic {topic} pubsub {pubsub}"
        reason = "DAPR_PUBSUB_UNMARSHAL_EVENTS"
        try:
            read = _entries.decode(await call.body())
            entries = [Entry(one.entryId, _body(one), one.contentType, one.metadata) for one in read]
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise unreadable(f"{what}: {error}", pubsub, reason) from error
        if empty := next((one.entryId for one in read if not bytes(one.event)), ""):
            raise unreadable(f"{what}: entry {empty[:40]} has no event", pubsub, reason)
        failed = await self._runtime.publish_bulk(call.caller, pubsub, topic, entries, call.metadata)
        if not failed:
            return DONE
        told = [{"entryId": entry_id, "error": error} for entry_id, error in failed]
        return json_reply({"failedEntries": told, "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE"}, 500)


def _body(entry: BulkEntry) -> bytes:
    """Bytes of one entry: JSON as it stands, bytes out of base64, text out of its string."""
    raw = bytes(entry.event)
    if not raw.startswith(b'"'):
        return raw
    media = entry.contentType.partition(";")[0].strip().lower()
    if media.endswith(("/json", "+json")):
        return raw
    if media == BYTES:
        try:
            return _bytes.decode(raw)
        except msgspec.DecodeError:
            pass  # text that is no base64
    return _text.decode(raw).encode()
