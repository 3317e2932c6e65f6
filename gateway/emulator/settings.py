"""Routes 1, 29 and 32, and what little is answered of 30-36: the user, ids, categories, settings."""

from __future__ import annotations

import uuid
from typing import Any, Final

from gateway.emulator import jsonin
from gateway.emulator.api import Response
from gateway.emulator.errors import GraphError, bad_body, bad_request, json_response, not_found
from gateway.emulator.ids import MalformedIdError
from gateway.emulator.items import Item
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.odata import Context

_ID_TYPES: Final = frozenset({"entryid", "ewsid", "immutableentryid", "restid", "restimmutableentryid"})
_COLORS: Final = frozenset({"none", *(f"preset{n}" for n in range(25))})


def user(ctx: Context) -> Response:
    """GET /me, /users/{id}."""
    name = ctx.box.upn.split("@")[0].replace(".", " ").title()
    out: dict[str, Any] = {
        "@odata.context": f"{ctx.request.base}/$metadata#users/$entity",
        "businessPhones": [],
        "displayName": name,
        "givenName": name.split()[0] if name.split() else None,
        "jobTitle": None,
        "mail": ctx.box.upn,
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": ctx.box.language,
        "surname": None,
        "userPrincipalName": ctx.box.upn,
        "id": ctx.box.guid,
    }
    select = ctx.options.select
    if select:
        out = {k: v for k, v in out.items() if k.startswith("@") or k.lower() in select}
    return json_response(200, out)


def translate_ids(ctx: Context) -> Response:
    """POST translateExchangeIds: at most 1,000 ids of this mailbox, one type to another."""
    body = jsonin.body(ctx)
    ids, source, target = body.get("inputIds"), body.get("sourceIdType"), body.get("targetIdType")
    if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
        raise bad_body()
    if str(source).lower() not in _ID_TYPES or str(target).lower() not in _ID_TYPES:
        raise bad_body()
    if len(ids) > 1000:
        raise bad_request("At most 1000 ids can be translated in one request.", "ErrorInvalidArgument")
    out = {
        "@odata.context": f"{ctx.request.base}/$metadata#Collection(microsoft.graph.convertIdResult)",
        "value": [_translated(ctx.box, each, str(target).lower()) for each in ids],
    }
    return json_response(200, out)


def _translated(box: Mailbox, text: str, target: str) -> dict[str, Any]:
    try:
        item: Item | None = box.item_by_id(text)
    except MalformedIdError:
        item = None
    if item is None:
        error = {"code": "ErrorInvalidIdMalformed", "message": "Id is malformed."}
        return {"sourceId": text, "errorDetails": error}
    return {"sourceId": text, "targetId": box.id_of(item, "immutable" in target)}


# -- categories ------------------------------------------------------------------------------------


def list_categories(ctx: Context) -> Response:
    out = {
        "@odata.context": ctx.metadata("outlook/masterCategories"),
        "value": list(ctx.box.categories.values()),
    }
    return json_response(200, out, items=len(ctx.box.categories))


def create_category(ctx: Context) -> Response:
    values = jsonin.checked(ctx, jsonin.body(ctx), frozenset({"displayname", "color"}), frozenset({"id"}))
    name, color = values.get("displayname"), values.get("color", "none")
    if not isinstance(name, str) or not 0 < len(name) <= 255 or color not in _COLORS:
        raise bad_body()
    if any(c["displayName"].casefold() == name.casefold() for c in ctx.box.categories.values()):
        raise GraphError(409, "CategoryNameDuplicate", "A category with this name exists already.")
    key = str(uuid.UUID(int=ctx.world.rng.getrandbits(128)))
    ctx.box.categories[key] = {"id": key, "displayName": name, "color": color}
    return json_response(201, ctx.box.categories[key])


def _category(ctx: Context, key: str) -> dict[str, Any]:
    if key not in ctx.box.categories:
        raise not_found()
    return ctx.box.categories[key]


def get_category(ctx: Context, key: str) -> Response:
    return json_response(200, _category(ctx, key))


def patch_category(ctx: Context, key: str) -> Response:
    """PATCH: the colour only; the name never changes."""
    category = _category(ctx, key)
    values = jsonin.checked(ctx, jsonin.body(ctx), frozenset({"color"}), frozenset({"id"}))
    if values.get("color") not in _COLORS:
        raise bad_body()
    category["color"] = values["color"]
    return json_response(200, category)


def delete_category(ctx: Context, key: str) -> Response:
    _category(ctx, key)
    del ctx.box.categories[key]
    return Response(204)


# -- the rest --------------------------------------------------------------------------------------


def mailbox_settings(ctx: Context) -> Response:
    """GET mailboxSettings: the defaults of a new mailbox."""
    language = (
        ctx.box.language
        if "-" in ctx.box.language
        else {"en": "en-US"}.get(ctx.box.language, ctx.box.language)
    )
    out = {
        "@odata.context": ctx.metadata("mailboxSettings"),
        "archiveFolder": ctx.box.folder_id(ctx.box.special["archive"].number),
        "timeZone": "UTC",
        "dateFormat": "yyyy-MM-dd",
        "timeFormat": "HH:mm",
        "language": {"locale": language, "displayName": language},
        "automaticRepliesSetting": {"status": "disabled", "externalAudience": "none"},
    }
    return json_response(200, out)


def not_emulated(_ctx: Context, *_names: str) -> Response:
    raise GraphError(501, "NotImplemented", "The emulator does not offer this route.")
