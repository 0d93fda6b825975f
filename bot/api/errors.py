"""Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}` and a status.

What is told is the public sentence of our errors; of the rest, a reference that the log explains.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import JSONResponse

from bot.disclosure import disclose
from bot.errors import AdapterRefused, Busy, NotAllowed, PromptTooLong, Stopping
from feedback.errors import Conflict, DatabaseError, NotFound, UsageError
from training.errors import AdapterError

RETRY_AFTER_S: Final = 5
"""When a caller who found us busy may knock again; clients that retry by themselves wait that long."""


class ApiError(Exception):
    """A refusal with its HTTP status; `code` and `param` are OpenAI's words for it, where it has any."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        super().__init__(message)

    @property
    def body(self) -> dict[str, Any]:
        """The error as a response or a stream carries it."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The error as a response of its own."""
        headers = {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status == 429:
            headers["Retry-After"] = str(RETRY_AFTER_S)
        return JSONResponse(self.body, self.status, headers)


def model_not_found(message: str) -> ApiError:
    """The model asked for is not served."""
    return ApiError(404, message, code="model_not_found", param="model")


def api_error(error: Exception) -> ApiError:
    """`error` as the caller is told it; what nobody expected is logged under a reference."""
    if isinstance(error, ApiError):
        return error
    disclosed = disclose(error)
    message = disclosed.sentence or "The request failed."
    if disclosed.reference:
        message += f" Try again; if it goes on, tell the operator the reference {disclosed.reference}."
    match error:
        case PromptTooLong():
            return ApiError(400, message, code="context_length_exceeded", param="messages")
        case UsageError():
            return ApiError(400, message, param="messages")
        case AdapterRefused() | AdapterError() | NotFound():
            return model_not_found(message)
        case NotAllowed():
            return ApiError(403, message, code="permission_denied")
        case Conflict():
            return ApiError(409, message)
        case Busy():
            return ApiError(429, message, type="rate_limit_error", code="rate_limit_exceeded")
        case DatabaseError() | Stopping():
            return ApiError(503, message, type="server_error")
    return ApiError(500, message, type="server_error")
