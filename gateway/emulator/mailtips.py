"""Route 33, getMailTips: what Exchange knows of recipients before anything is sent (contract section 14).

An address answers with the tips that were asked for, or with `error`, which for the user of a domain of the tenant whom
nobody knows is a guess: that it names him as not found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.emulator import jsonin
from gateway.emulator.api import Response
from gateway.emulator.errors import bad_body, bad_request, json_response
from gateway.emulator.limits import limit
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.odata import Context

Tip = Callable[[Context, str, Mailbox | None], dict[str, Any]]


def _internal(ctx: Context, address: str) -> bool:
    return address.rpartition("@")[2].lower() == ctx.box.upn.rpartition("@")[2].lower()


def _full(_ctx: Context, _address: str, box: Mailbox | None) -> dict[str, Any]:
    return {"mailboxFull": box is not None and box.full()}


def _largest(ctx: Context, address: str, _box: Mailbox | None) -> dict[str, Any]:
    name = "send_bytes" if _internal(ctx, address) else "external_bytes"
    return {"maxMessageSize": int(limit(ctx.world, name))}


def _scope(ctx: Context, address: str, _box: Mailbox | None) -> dict[str, Any]:
    return {"recipientScope": "internal" if _internal(ctx, address) else "external"}


def _restricted(ctx: Context, address: str, _box: Mailbox | None) -> dict[str, Any]:
    return {"deliveryRestricted": address.lower() in ctx.post.restricted}


_TIPS: Final[dict[str, Tip]] = {
    "automaticreplies": lambda *_: {"automaticReplies": {"message": ""}},
    "mailboxfullstatus": _full,
    "custommailtip": lambda *_: {"customMailTip": ""},
    "externalmembercount": lambda *_: {"externalMemberCount": 0},
    "totalmembercount": lambda *_: {"totalMemberCount": 1},
    "maxmessagesize": _largest,
    "deliveryrestriction": _restricted,
    "moderationstatus": lambda *_: {"isModerated": False},
    "recipientscope": _scope,
    "recipientsuggestions": lambda *_: {"recipientSuggestions": []},
}


def get(ctx: Context) -> Response:
    """POST getMailTips."""
    values = jsonin.checked(
        ctx, jsonin.body(ctx), frozenset({"emailaddresses", "mailtipsoptions"}), frozenset()
    )
    addresses, options = values.get("emailaddresses"), values.get("mailtipsoptions")
    if not isinstance(addresses, list) or not all(isinstance(each, str) for each in addresses):
        raise bad_body()
    if not isinstance(options, str):
        raise bad_body()
    asked = [word.strip().lower() for word in options.split(",")]
    if not addresses or not set(asked) <= _TIPS.keys():
        raise bad_request("MailTipsOptions or EmailAddresses are not valid.", "ErrorInvalidArgument")
    if len(addresses) > limit(ctx.world, "mail_tips"):
        raise bad_request("Too many addresses in one request.", "ErrorInvalidArgument")
    out = {
        "@odata.context": f"{ctx.request.base}/$metadata#Collection(microsoft.graph.mailTips)",
        "value": [_of(ctx, address, asked) for address in addresses],
    }
    return json_response(200, out)


def _of(ctx: Context, address: str, asked: list[str]) -> dict[str, Any]:
    box = ctx.post.mailbox(address)
    said: dict[str, Any] = {"emailAddress": {"name": "", "address": address}}
    if box is None and _internal(ctx, address):
        error = {"code": "RecipientNotFound", "message": "The recipient could not be found."}
        return said | {"error": error}
    for name in asked:
        said |= _TIPS[name](ctx, address, box)
    return said
