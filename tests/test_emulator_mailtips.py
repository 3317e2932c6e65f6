"""getMailTips: what is told of each recipient (contract section 14)."""

from __future__ import annotations

from typing import Any

import pytest
from emulator_kit import BOB, Kit

ALL = "mailboxFullStatus, maxMessageSize, deliveryRestriction, recipientScope"


def tips(kit: Kit, *addresses: str, options: str = ALL) -> list[dict[str, Any]]:
    answer = kit.post("/getMailTips", {"EmailAddresses": addresses, "MailTipsOptions": options})
    assert answer.status == 200
    value: list[dict[str, Any]] = answer.json["value"]
    return value


def test_inside_and_outside():
    inside, outside = tips(Kit(), BOB, "zoe@example.net")
    assert inside["emailAddress"]["address"] == BOB and inside["recipientScope"] == "internal"
    assert outside["recipientScope"] == "external"
    assert outside["maxMessageSize"] < inside["maxMessageSize"]
    assert not inside["mailboxFull"] and not inside["deliveryRestricted"]


def test_who_is_unknown_full_or_restricted():
    kit = Kit()
    kit.tenant.world.limits["quota_bytes"] = -1
    kit.tenant.post.restricted.add("carol@example.com")
    nobody, bob, carol = tips(kit, "nobody@example.com", BOB, "Carol@example.com")
    assert nobody["error"]["code"] == "RecipientNotFound" and "mailboxFull" not in nobody
    assert bob["mailboxFull"] and not bob["deliveryRestricted"]
    assert carol["deliveryRestricted"]


def test_only_what_was_asked_for():
    (told,) = tips(Kit(), BOB, options="recipientScope")
    assert set(told) == {"emailAddress", "recipientScope"}


@pytest.mark.parametrize(
    "body",
    [
        {"EmailAddresses": [BOB]},
        {"EmailAddresses": BOB, "MailTipsOptions": ALL},
        {"EmailAddresses": [], "MailTipsOptions": ALL},
        {"EmailAddresses": [BOB], "MailTipsOptions": "weather"},
        {"EmailAddresses": [BOB] * 101, "MailTipsOptions": ALL},
        {"EmailAddresses": [BOB], "MailTipsOptions": ALL, "more": 1},
    ],
)
def test_what_is_wrong_is_refused(body: dict[str, Any]):
    assert Kit().post("/getMailTips", body).status == 400
