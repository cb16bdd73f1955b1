"""Answers in Dapr's shape: one error for both transports.

Source: Dapr's error codes reference and google.rpc's error details.
"""

from __future__ import annotations

from typing import Any

from api.errors import EvokeError

DOMAIN = "dapr.io"


class DaprError(EvokeError):
    """What a call of the Dapr API failed with; *status* over HTTP, *grpc* is the name of the code over gRPC."""

    def __init__(
        self,
        status: int,
        grpc: str,
        code: str,
        message: str,
        reason: str = "",
        resource: str = "",
        resource_type: str = "pubsub",
        *,
        retry_after: int = 0,
    ) -> None:
        """*code* is Dapr's errorCode, *reason* that of google.rpc.ErrorInfo, *retry_after* in seconds."""
        super().__init__(message, code=code)
        self.status, self.grpc = status, grpc
        self.reason, self.resource, self.resource_type = reason, resource, resource_type
        self.retry_after = retry_after

    def details(self) -> list[dict[str, Any]]:
        """google.rpc.ErrorInfo and ResourceInfo as JSON; empty where there are none."""
        found: list[dict[str, Any]] = []
        if self.reason:
            found.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": DOMAIN, "reason": self.reason})
        if self.resource:
            found.append(
                {
                    "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                    "resource_type": self.resource_type,
                    "resource_name": self.resource,
                }
            )
        return found


def unauthenticated() -> DaprError:
    """No token, a wrong one, or several."""
    return DaprError(
        401,
        "UNAUTHENTICATED",
        "ERR_API_TOKEN",
        "invalid api token: it comes with the environment as DAPR_API_TOKEN",
    )


def unimplemented(what: str) -> DaprError:
    """A part of Dapr's API that is not served here."""
    return DaprError(501, "UNIMPLEMENTED", "ERR_API_UNIMPLEMENTED", f"{what} is not part of what this runtime serves")


def malformed(message: str) -> DaprError:
    """The request cannot be read."""
    return DaprError(400, "INVALID_ARGUMENT", "ERR_MALFORMED_REQUEST", message)


def busy(message: str) -> DaprError:
    """The caller has too much under way; the same call may succeed in a second."""
    return DaprError(429, "RESOURCE_EXHAUSTED", "ERR_TOO_MANY_REQUESTS", message, retry_after=1)
