"""Errors of the runtime as gRPC statuses with Dapr's details, and those that stand for an HTTP status.

Source: google.rpc.Status in ``grpc-status-details-bin``; dapr/pkg/messaging/v1/util.go for the codes of HTTP answers.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]  # it ships none
    ErrorInfo,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it ships none

from proxy.dapr.errors import DOMAIN, DaprError
from proxy.dapr_grpc.metadata import Context

DETAILS = "grpc-status-details-bin"
LONGEST = 63
"""Characters of a metadata value of ErrorInfo."""

_OF_HTTP = {
    400: "INTERNAL",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "CANCELLED",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "UNKNOWN",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


async def abort(context: Context, error: DaprError) -> NoReturn:
    """End the call with *error*."""
    details: list[Message] = []
    for one in reversed(error.details()):  # over gRPC Dapr names the resource first
        if one["@type"].endswith("ErrorInfo"):
            details.append(ErrorInfo(domain=one["domain"], reason=one["reason"]))
        else:
            details.append(ResourceInfo(resource_type=one["resource_type"], resource_name=one["resource_name"]))
    if error.retry_after:
        wait = RetryInfo()
        wait.retry_delay.FromSeconds(error.retry_after)
        details.append(wait)
    await end(context, error.grpc, error.message, details)


async def abort_http(context: Context, status: int, body: bytes) -> NoReturn:
    """End the call with what an app answered over HTTP."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = f"HTTP {status}"
    told = {"http.code": str(status), "http.error_message": body.decode("utf-8", "replace")[:LONGEST]}
    info = ErrorInfo(domain=DOMAIN, reason=phrase, metadata=told)
    await end(context, _OF_HTTP.get(status, "UNKNOWN"), phrase, [info])


async def end(context: Context, name: str, message: str, details: list[Message]) -> NoReturn:
    """End the call with a status code by *name*."""
    code = grpc.StatusCode[name]
    trailing: list[tuple[str, bytes]] = []
    if details:
        status = Status(code=code.value[0], message=message)
        for one in details:
            packed = AnyMessage()
            packed.Pack(one)
            status.details.append(packed)
        trailing.append((DETAILS, status.SerializeToString()))
    await context.abort(code, message, tuple(trailing))
    raise AssertionError("abort() raises")
