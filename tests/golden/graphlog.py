"""The emulator's log as `G:` lanes have it: method and what it is about, without ids, queries and hosts.

GET mailFolders/delta            GET messages/delta        GET messages        (a listing's page)
GET message                      GET $value                PATCH message
POST move, copy, messages        DELETE message            POST attachments
PATCH subscription               POST subscriptions
POST /$batch PATCH*2             a batch: its inner requests, in order, equal neighbours counted
GET $value !429                  what was not answered with success
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

_ID = r"[^/()]+"
# Path below the mailbox, without its query; the first that fits names it.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"/mailFolders/delta(\(\))?", "mailFolders/delta"),
    (rf"/mailFolders/{_ID}/messages/delta(\(\))?", "messages/delta"),
    (rf"/mailFolders/{_ID}/(?P<last>\w+)", "{last}"),
    (rf"/mailFolders/{_ID}", "mailFolder"),
    (r"/mailFolders", "mailFolders"),
    (rf"/messages/{_ID}/attachments/{_ID}(/\$value)?", "attachment"),
    (rf"/messages/{_ID}/attachments/createUploadSession", "createUploadSession"),
    (rf"/messages/{_ID}/(?P<last>[$\w]+)", "{last}"),
    (rf"/messages/{_ID}", "message"),
    (r"/messages", "messages"),
    (rf"/v1\.0/subscriptions/{_ID}", "subscription"),
    (r"/v1\.0/subscriptions", "subscriptions"),
)
_MAILBOX = re.compile(rf"\A(/v1\.0|/beta)?(/me|/users/{_ID})")


def lines(requests: Sequence[Mapping[str, Any]]) -> list[str]:
    return [_line(request) for request in requests]


def _line(request: Mapping[str, Any]) -> str:
    if request["inner"]:
        inner = [_inner(one) for one in request["inner"]]
        return "POST /$batch " + " ".join(_counted(inner)) + _failure(request["status"])
    return f"{request['method']} {_name(request['path'])}{_failure(request['status'])}"


def _inner(request: Mapping[str, Any]) -> str:
    name = _name(request["url"])
    about = "" if name == "message" else f" {name}"
    return f"{request['method']}{about}{_failure(request['status'])}"


def _counted(names: Sequence[str]) -> list[str]:
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    return [f"{name}*{count}" for name, count in runs]


def _failure(status: int) -> str:
    return "" if 200 <= status < 300 else f" !{status}"


def _name(path: str) -> str:
    path = _MAILBOX.sub("", path.partition("?")[0])
    for pattern, name in _NAMES:
        if match := re.fullmatch(pattern, path):
            return name.format(**match.groupdict())
    return path
