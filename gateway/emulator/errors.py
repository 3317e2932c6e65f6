"""Refusals: one exception, one envelope (contract section 2). Handlers raise, `Tenant.handle` answers."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.emulator.api import Response

JSON_TYPE = (
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
)


class GraphError(Exception):
    """A refusal with its HTTP status, error code and text; `headers` go into the answer."""

    def __init__(self, status: int, code: str, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.text = text
        self.headers = headers or {}

    def response(self) -> Response:
        """The error envelope, bare: the shell dresses it (`dressed`)."""
        body = msgspec.json.encode({"error": {"code": self.code, "message": self.text}})
        return Response(self.status, body, {"Content-Type": JSON_TYPE, **self.headers})


def dressed(response: Response, turn: int, inner: dict[str, str]) -> Response:
    """An error answer in one of the envelopes of section 2: bare, with `innerError`, or with `innererror`
    that has a code of its own. What is no error in JSON stays as it is."""
    if response.status < 400 or not isinstance(response.body, bytes) or turn % 3 == 0:
        return response
    try:
        value = msgspec.json.decode(response.body)
        error = value["error"]
        within = {**error.pop("innerError", {}), **inner}
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        return response
    if turn % 3 == 1:
        error["innerError"] = within
    else:
        error["innererror"] = {"code": error.get("code"), **within}
    return Response(response.status, msgspec.json.encode(value), response.headers, response.items)


def json_response(status: int, value: Any, headers: dict[str, str] | None = None, items: int = 0) -> Response:
    """An OData JSON answer."""
    return Response(status, msgspec.json.encode(value), {"Content-Type": JSON_TYPE, **(headers or {})}, items)


def bad_request(text: str, code: str = "BadRequest") -> GraphError:
    return GraphError(400, code, text)


def bad_body(text: str = "Unable to deserialize the post body.") -> GraphError:
    return GraphError(400, "UnableToDeserializePostBody", text)


def not_found(text: str = "The specified object was not found in the store.") -> GraphError:
    return GraphError(404, "ErrorItemNotFound", text)


def malformed_id() -> GraphError:
    return GraphError(400, "ErrorInvalidIdMalformed", "Id is malformed.")


def denied(text: str = "Access is denied. Check credentials and try again.") -> GraphError:
    return GraphError(403, "ErrorAccessDenied", text)


def folder_exists(name: str) -> GraphError:
    return GraphError(409, "ErrorFolderExists", f"A folder with the specified name already exists., {name!r}")


def conflict() -> GraphError:
    text = (
        "The send or update operation could not be performed because the change key passed in the request "
        "does not match the current change key for the item."
    )
    return GraphError(412, "ErrorIrresolvableConflict", text)


def quota() -> GraphError:
    return GraphError(
        403,
        "ErrorQuotaExceeded",
        "The process failed to get the correct properties., The mailbox has exceeded its quota.",
    )


def too_large() -> GraphError:
    return GraphError(413, "RequestEntityTooLarge", "The maximum request length supported is 4MB.")


def unsupported_filter(text: str) -> GraphError:
    return GraphError(400, "ErrorInvalidUrlQueryFilter", text)


def inefficient() -> GraphError:
    return GraphError(
        400, "InefficientFilter", "The restriction or sort order is too complex for this operation."
    )


def too_complex() -> GraphError:
    return GraphError(
        400,
        "ErrorRestrictionTooComplex",
        "The restriction is too complex., Cannot query rows in a table.",
    )


def unknown_segment(segment: str) -> GraphError:
    return bad_request(f"Resource not found for the segment '{segment}'.")


def wrong_method() -> GraphError:
    return GraphError(
        405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target."
    )
