"""Faults on demand: the next matching call fails in the way that was asked for.

`POST /_emulator/faults` takes one fault; the first that matches a call, in the order they came, is used up
once per match. Modes: `error` answers without doing the work; `hang` never answers; `reset` aborts the
connection; `cut` does the work and sends half of the answer; `commit-then-fail` does the work and then
answers `status` (504 unless said, 0 = reset); `dead-token` revokes the access token that the call carries, which
is then a 401 like that of any dead token (contract section 1.5).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from gateway.emulator.api import Response

MODES: Final = frozenset({"error", "hang", "reset", "cut", "commit-then-fail", "dead-token"})
TARGETS: Final = frozenset({"graph", "auth", "any"})
MAX_FAULTS: Final = 1000

# The code Exchange or the Graph front end gives with a status (contract section 2).
CODES: Final[dict[int, str]] = {
    400: "BadRequest",
    401: "InvalidAuthenticationToken",
    403: "ErrorAccessDenied",
    404: "ErrorItemNotFound",
    409: "ErrorFolderExists",
    410: "SyncStateNotFound",
    412: "ErrorIrresolvableConflict",
    413: "RequestEntityTooLarge",
    429: "ApplicationThrottled",
    500: "ErrorInternalServerError",
    503: "serviceNotAvailable",
    504: "UnknownError",
    507: "ErrorQuotaExceeded",
}


@dataclass(slots=True)
class Fault:
    """One fault. `method` None matches every method, `left` None never wears out. `inner` says whether it is for
    requests inside a batch, for those that are not, or (None) for both. `body`, if given, is sent as it is with
    `content_type` (front ends answer HTML, or nothing at all)."""

    method: str | None
    pattern: re.Pattern[str]
    mode: str
    status: int
    code: str
    retry_after: float | str | None
    left: int | None
    probability: float
    rng: random.Random
    target: str = "graph"
    inner: bool | None = None
    body: str | None = None
    content_type: str = "text/html"

    def answer(self) -> Response:
        """The error this fault answers with."""
        headers = {"Content-Type": "application/json"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.body is not None:
            return Response(self.status, self.body.encode(), {**headers, "Content-Type": self.content_type})
        error = {
            "code": self.code,
            "message": "" if self.code == "UnknownError" else "A fault was asked for.",
        }
        return Response(self.status, json.dumps({"error": error}).encode(), headers)

    def fits(self, target: str, method: str, path: str, plain: str) -> bool:
        return (
            self.target in (target, "any")
            and self.method in (None, method)
            and bool(self.pattern.search(path) or self.pattern.search(plain))
        )


def parse_fault(source: Mapping[str, Any]) -> Fault:
    """A fault from its JSON. Raises ValueError with a text for a wrong or unknown key."""
    known = {"method", "path", "mode", "status", "code", "retry_after", "count", "probability", "seed"}
    known |= {"target", "inner", "body", "content_type"}
    if unknown := sorted(set(source) - known):
        raise ValueError(f"unknown keys: {', '.join(unknown)}")
    mode = _one_of(source, "mode", "error", MODES)
    status = int(source.get("status", 504 if mode == "commit-then-fail" else 503))
    method = source.get("method")
    try:
        pattern = re.compile(str(source.get("path") or ""))
    except re.error as error:
        raise ValueError(f"path is no regular expression: {error}") from None
    count = source.get("count")
    return Fault(
        method=None if method in (None, "", "*") else str(method).upper(),
        pattern=pattern,
        mode=mode,
        status=status,
        code=str(source.get("code") or CODES.get(status, "UnknownError")),
        retry_after=source.get("retry_after"),
        left=None if count is None else int(count),
        probability=float(source.get("probability", 1.0)),
        rng=random.Random(source.get("seed", 1)),  # noqa: S311  (chance, not secrecy)
        target=_one_of(source, "target", "graph", TARGETS),
        inner=None if source.get("inner") is None else bool(source["inner"]),
        body=source.get("body"),
        content_type=str(source.get("content_type", "text/html")),
    )


def _one_of(source: Mapping[str, Any], key: str, default: str, allowed: frozenset[str]) -> str:
    value = str(source.get(key, default))
    if value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(sorted(allowed))}")
    return value


class Faults:
    """The faults that wait, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        if len(self._waiting) >= MAX_FAULTS:
            raise ValueError(f"more than {MAX_FAULTS} faults")
        self._waiting.append(fault)

    def clear(self) -> int:
        count = len(self._waiting)
        self._waiting.clear()
        return count

    def take(
        self, method: str, path: str, *, target: str = "graph", inner: bool = False, token: bool = False
    ) -> Fault | None:
        """The fault for this call, or None. `path` is path and query, without host and version, as it came;
        patterns are tried on it and on its percent-decoded form. `token`: those of the token only, else all others."""
        if not self._waiting:
            return None
        plain = unquote(path)
        for fault in self._waiting:
            if (fault.mode == "dead-token") != token or fault.inner not in (None, inner):
                continue
            if fault.fits(target, method, path, plain) and fault.rng.random() < fault.probability:
                self._wear(fault)
                return fault
        return None

    def _wear(self, fault: Fault) -> None:
        if fault.left is None:
            return
        fault.left -= 1
        if fault.left <= 0:
            self._waiting.remove(fault)

    def describe(self) -> list[dict[str, object]]:
        return [
            {
                "method": f.method,
                "path": f.pattern.pattern,
                "mode": f.mode,
                "status": f.status,
                "left": f.left,
                "probability": f.probability,
            }
            for f in self._waiting
        ]
