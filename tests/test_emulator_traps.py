"""Every trap of contract section 15, by its number: how the strict emulator shows it, and with its rule off.

`seen(rule, look)` looks twice: at a tenant as it starts and at one with that rule off. What more there is to
say about a trap is in `test_emulator_*`. Traps 16, 17, 39, 40, 47 and 49 need HTTP (below); 21, 32 and 41 are
about what the gateway makes of true answers: `GATEWAY` names its tests.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator.rules import OFF_AT_START, RULES
from tests.emulator_kit import ALICE, BOB, CAROL, IMMUTABLE, MAIL, Kit
from tests.shell_support import Stage, staged

DELTA = "/mailFolders/inbox/messages/delta"
GATEWAY = {
    6: "test_graph_emulator::test_listing_pages_carry_immutable_ids_and_properties",
    11: "test_mailbox_sync::test_a_dead_delta_token_changes_no_uid",
    21: "test_mailbox_append::test_the_clients_copy_in_sent_takes_over_exchanges",
    32: "test_mailbox_names::test_siblings_of_one_name_differ_by_a_number_and_the_oldest_has_none",
    41: "test_graph_query::test_no_other_link_gets_the_token",
}


def seen(rule: str, look: Callable[[Kit], Any], **options: Any) -> tuple[Any, Any]:
    """What `look` finds with the emulator as it starts, and with `rule` off."""
    assert rule in RULES and rule not in OFF_AT_START
    return look(Kit(**options)), look(Kit(off=(rule,), **options))


def filled(kit: Kit, count: int) -> Kit:
    for n in range(count):
        kit.tenant.deliver_variant(ALICE, "inbox", MAIL, n, 1_700_000_000 + 60 * n)
    kit.settle()
    return kit


def encoded(mime: bytes) -> bytes:
    return base64.b64encode(mime)


def expanded(prop: str) -> str:
    return f"$expand=singleValueExtendedProperties($filter=id eq '{prop}')"


def header_names(mime: bytes) -> set[str]:
    return {line.split(b":")[0].decode().lower() for line in mime.split(b"\r\n\r\n")[0].split(b"\r\n")}


# -- 1-4, 18, 22-24, 42: creating --------------------------------------------------------------------


def test_trap_01_mime_is_not_taken_by_a_folder():
    def look(kit: Kit) -> Any:
        return kit.post("/mailFolders/archive/messages", encoded(MAIL)).status

    assert seen("mime-to-folder-refused", look) == (400, 201)


def test_trap_02_a_draft_is_one_for_ever():
    def look(kit: Kit) -> Any:
        name = kit.draft()
        props = [{"id": "Integer 0x0E07", "value": "1"}]
        kit.patch(f"/messages/{name}", {"isDraft": False, "singleValueExtendedProperties": props})
        return kit.get(f"/messages/{name}").json["isDraft"]

    assert seen("draft-is-forever", look) == (True, False)
    kit = Kit()
    assert kit.land({"subject": "landed"})["isDraft"] is False  # only a create makes a non-draft


def test_trap_03_dates_land_through_mapi_alone():
    def look(kit: Kit) -> Any:
        made = kit.land({"subject": "s", "receivedDateTime": "2020-01-02T03:04:05Z"})
        return str(made["receivedDateTime"])[:4]

    assert seen("landing-dates-ignored", look) == ("2027", "2020")
    props = [{"id": "SystemTime 0x0E06", "value": "2020-01-02T03:04:05Z"}]
    made = Kit().land({"subject": "s", "singleValueExtendedProperties": props})
    assert made["receivedDateTime"] == "2020-01-02T03:04:05Z"


def test_trap_04_one_unknown_key_refuses_a_body():
    def look(kit: Kit) -> Any:
        return kit.post("/messages", {"subject": "s", "datereceived": "x"}).status

    assert seen("unknown-key-refused", look) == (400, 201)
    assert Kit().post("/messages", {"subject": "s", "id": "x", "changeKey": "y"}).status == 201


def test_trap_18_a_body_consumed_by_the_first_try_is_an_empty_payload():
    answer = Kit().post("/sendMail", b"")
    assert (answer.status, answer.code) == (400, "UnableToDeserializePostBody")


QP = (
    b"From: alice@example.com\r\nTo: bob@example.com\r\nSubject: q\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b'<p class=3D"x">y</p>\r\n'
)


def test_trap_22_quoted_printable_html_is_mangled():
    def look(kit: Kit) -> Any:
        assert kit.post("/sendMail", encoded(QP)).status == 202
        (name,) = kit.get(f"/users/{BOB}/messages").ids
        return b'class=3D3D"x"' in kit.get(f"/users/{BOB}/messages/{name}/$value").body

    assert seen("qp-mangled", look) == (True, False)


def test_trap_23_bare_line_feeds_are_refused():
    def look(kit: Kit) -> Any:
        return kit.post("/messages", encoded(MAIL.replace(b"\r\n", b"\n"))).status

    assert seen("bare-lf-refused", look) == (400, 201)


def test_trap_24_a_2xx_that_sent_nothing():
    def look(kit: Kit) -> Any:
        kit.world.limits["body_bytes"] = 100
        status = kit.post("/sendMail", encoded(QP)).status
        return status, len(kit.tenant.listing(BOB, "inbox"))

    assert seen("silent-200", look) == ((200, 0), (413, 0))


def test_trap_24_over_four_megabytes_a_create_is_413():
    def look(kit: Kit) -> Any:
        return kit.post("/messages", encoded(MAIL + b"x" * (4 * 1024 * 1024))).status

    assert seen("body-over-4mb", look) == (413, 201)


def test_trap_42_what_was_just_made_is_404_for_a_moment():
    def look(kit: Kit) -> Any:
        name = kit.post("/messages", encoded(MAIL), IMMUTABLE).json["id"]
        calls = [kit.get(f"/messages/{name}"), kit.post(f"/messages/{name}/attachments", {})]
        return [call.status for call in calls]

    assert seen("create-then-404", look) == ([404, 404], [200, 400])


def test_trap_42_the_sent_copy_comes_later_under_the_drafts_immutable_id():
    def look(kit: Kit) -> Any:
        name = kit.draft()
        assert kit.post(f"/messages/{name}/send").status == 202
        at_once = kit.get(f"/messages/{name}").status
        kit.settle()
        sent = kit.get("/mailFolders/sentitems/messages?$select=id", IMMUTABLE).ids
        return at_once, sent == [name]

    def own(kit: Kit) -> Any:
        kit.tenant.rights.send_as["dora@example.net"] = {ALICE}
        return look(kit)

    assert seen("sent-copy-late", own) == ((404, True), (200, True))


# -- 5-9, 43, 44, 53: ids and moves ------------------------------------------------------------------


def test_trap_05_there_and_back_is_lost_by_delta():
    def look(kit: Kit) -> Any:
        name = kit.deliver()
        first = kit.delta()
        for target in ("archive", "inbox"):
            kit.post(f"/messages/{name}/move", {"destinationId": target})
            kit.settle()
        after = kit.delta(first.link)
        assert name in kit.get("/mailFolders/inbox/messages?$select=id", IMMUTABLE).ids
        return len(after.added), len(after.removed)

    assert seen("immutable-id-hole", look) == ((0, 1), (1, 0))


def test_trap_06_a_call_without_the_preference_gets_ids_that_die():
    def look(kit: Kit) -> Any:
        kit.deliver()
        (regular,) = kit.get("/messages").ids
        kit.post(f"/messages/{regular}/move", {"destinationId": "archive"})
        return kit.get(f"/messages/{regular}").status

    assert seen("id-churn", look) == (404, 200)


def test_trap_07_ids_that_differ_by_case_are_different_ids():
    def look(kit: Kit) -> Any:
        return kit.get(f"/messages/{kit.deliver().lower()}").status

    strict, kind = seen("id-case-sensitive", look)
    assert strict in (400, 404) and kind == 200


def test_trap_08_property_ids_come_back_in_another_spelling():
    def look(kit: Kit) -> Any:
        shown = kit.get(f"/messages/{kit.deliver()}?{expanded('Integer 0x0E07')}").json
        return shown["singleValueExtendedProperties"][0]["id"]

    assert seen("property-id-normalised", look) == ("Integer 0xe07", "Integer 0x0E07")


def test_trap_09_a_conflict_without_if_match():
    def look(kit: Kit) -> Any:
        name = kit.deliver()
        kit.tenant.outlook_patch(ALICE, name, {"isRead": True})
        return [kit.patch(f"/messages/{name}", {"isRead": False}).status for _ in range(2)]

    assert seen("conflict-without-if-match", look) == ([412, 200], [200, 200])


def test_trap_43_a_stale_id_is_404_for_delete_and_move():
    kit = Kit()
    kit.deliver()
    (stale,) = kit.get("/messages").ids
    assert kit.delete(f"/messages/{stale}").status == 204
    assert kit.delete(f"/messages/{stale}").code == "ErrorItemNotFound"
    assert kit.post(f"/messages/{stale}/move", {"destinationId": "inbox"}).code == "ErrorItemNotFound"


def test_trap_44_an_inbox_rule_moves_mail_that_was_announced_already():
    def look(kit: Kit) -> Any:
        rule = {"displayName": "r", "sequence": 1, "conditions": {"subjectContains": ["hello"]},
                "actions": {"moveToFolder": "archive"}}  # fmt: skip
        assert kit.post("/mailFolders/inbox/messageRules", rule).status == 201
        name = kit.tenant.deliver(ALICE, "inbox", MAIL)
        at_once = len(kit.tenant.listing(ALICE, "inbox"))
        kit.settle()
        kit.get("/messages")
        (found,) = kit.tenant.listing(ALICE, "archive")
        return at_once, found["id"] == name

    assert seen("rules-race", look) == ((1, True), (0, True))


def test_trap_53_a_repeated_delete_destroys():
    def look(kit: Kit) -> Any:
        name = kit.deliver()
        for _ in range(2):
            assert kit.delete(f"/messages/{name}").status == 204
        return len(kit.tenant.listing(ALICE, "deleteditems"))

    assert seen("delete-again-destroys", look) == (0, 1)


# -- 10-14, 55: delta --------------------------------------------------------------------------------


def test_trap_10_a_full_mailbox_has_no_delta():
    def look(kit: Kit) -> Any:
        kit.deliver()
        kit.world.limits["quota_bytes"] = 1
        return kit.get(DELTA).status, kit.get("/messages").status

    assert seen("delta-quota", look) == ((403, 200), (200, 200))


def test_trap_11_tokens_die_in_three_dresses():
    def look(kit: Kit) -> Any:
        links = [kit.delta().link for _ in range(3)]
        kit.tenant.expire_delta()
        return [kit.get(link).status for link in links]

    assert seen("token-death-varies", look) == ([410, 404, 400], [410, 410, 410])


def test_trap_12_a_page_without_items_goes_on():
    def look(kit: Kit) -> Any:
        link, sizes = DELTA, []
        filled(kit, 25)
        while link:
            page = kit.get(link).json
            sizes.append(len(page["value"]))
            link = page.get("@odata.nextLink")
        return 0 in sizes

    assert seen("delta-empty-pages", look) == (True, False)


def test_trap_12_rows_may_come_twice():
    def look(kit: Kit) -> Any:
        rows = filled(kit, 40).delta(DELTA, IMMUTABLE).added
        return len(rows) > len(set(rows)) == 40

    assert seen("delta-replays", look) == (True, False)


@pytest.mark.parametrize("path", ["/messages", DELTA])
def test_trap_13_ten_a_page_without_a_wish(path):
    assert seen("page-default-10", lambda kit: len(filled(kit, 25).get(path).ids)) == (10, 25)


def test_trap_13_delta_gives_512_at_most():
    def look(kit: Kit) -> Any:
        return len(filled(kit, 520).get(DELTA, {"prefer": "odata.maxpagesize=1000"}).ids)

    assert seen("page-cap-512", look) == (512, 520)


def test_trap_14_top_cuts_the_total_of_a_delta():
    def look(kit: Kit) -> Any:
        filled(kit, 8)
        return len(set(kit.delta(f"{DELTA}?$top=5").added))

    assert seen("top-limits-delta", look) == (5, 8)


def test_trap_55_delta_shows_what_was_before_our_own_write():
    def look(kit: Kit) -> Any:
        name = kit.deliver()
        first = kit.delta()
        kit.patch(f"/messages/{name}", {"isRead": True})
        return [row["isRead"] for row in kit.delta(first.link).rows]

    assert seen("delta-lag", look) == ([], [True])


def test_trap_50_delta_refuses_extended_properties():
    def look(kit: Kit) -> Any:
        return kit.get(f"{DELTA}?{expanded('Integer 0x1081')}").status

    assert seen("delta-expand-refused", look) == (400, 200)


# -- 15, 25-29, 48, 51, 54: reading ------------------------------------------------------------------


def test_trap_15_mail_that_arrives_shifts_the_next_page():
    def look(kit: Kit) -> Any:
        first = filled(kit, 12).get("/messages?$top=5")
        kit.deliver()
        return len(set(first.ids) & set(kit.get(first.json["@odata.nextLink"]).ids))

    assert seen("skip-unstable", look) == (1, 0)


def test_trap_25_the_size_is_not_the_length_of_the_mime():
    def look(kit: Kit) -> Any:
        shown = kit.get(f"/messages/{kit.deliver()}?{expanded('Integer 0x0E08')}").json
        return int(shown["singleValueExtendedProperties"][0]["value"]) == len(MAIL)

    assert seen("estimate-size", look) == (False, True)


SEALED = (
    b"From: a@x.org\r\nTo: alice@example.com\r\nSubject: Sealed\r\nMIME-Version: 1.0\r\nContent-Type: "
    b'application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nMIIB\r\n"
)


def test_trap_26_the_value_of_opaque_smime_fails_for_good():
    def look(kit: Kit) -> Any:
        name = kit.deliver(SEALED)
        return {kit.get(f"/messages/{name}/$value").status for _ in range(3)}

    assert seen("smime-value-500", look) == ({500}, {200})


def test_trap_27_a_value_that_ends_early_and_looks_complete():
    kit = Kit()
    name = kit.deliver()
    assert kit.value(name) == MAIL  # a rule that is off at start
    kit.rules.set("value-truncated", True)
    assert kit.value(name) == MAIL[: len(MAIL) // 2]


def test_trap_28_inline_images_are_no_attachments():
    mime = (
        MAIL.split(b"Content-Type")[0] + b'Content-Type: multipart/related; boundary="m"\r\n\r\n--m\r\n'
        b'Content-Type: text/html\r\n\r\n<img src="cid:i">\r\n--m\r\nContent-Type: image/png\r\nContent-ID: <i>\r\n'
        b"Content-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\naGVq\r\n--m--\r\n"
    )

    def look(kit: Kit) -> Any:
        return kit.get(f"/messages/{kit.deliver(mime)}").json["hasAttachments"]

    assert seen("inline-has-no-attachments", look) == (False, True)


def test_trap_29_a_category_changes_the_mime():
    def look(kit: Kit) -> Any:
        name = kit.deliver()
        kit.patch(f"/messages/{name}", {"categories": ["Red"]})
        return kit.value(name) == MAIL

    assert seen("value-regenerated", look) == (False, True)


def test_trap_48_times_are_whole_seconds_utc_and_mapi_takes_seven_decimals():
    props = [{"id": "SystemTime 0x0E06", "value": "2020-01-02T03:04:05.1234567Z"}]
    made = Kit().land({"subject": "s", "singleValueExtendedProperties": props})
    assert made["receivedDateTime"] == "2020-01-02T03:04:05Z"
    for name in ("createdDateTime", "lastModifiedDateTime", "sentDateTime"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made[name])


def test_trap_51_marking_read_sends_the_receipt():
    asking = b"Disposition-Notification-To: bob@example.com\r\n" + MAIL.replace(
        b"dora@example.net", b"bob@example.com"
    )

    def look(kit: Kit) -> Any:
        kit.patch(f"/messages/{kit.deliver(asking)}", {"isRead": True})
        return [m["subject"] for m in kit.tenant.listing(BOB, "inbox")]

    assert seen("read-receipt-on-seen", look) == (["Read: Hello"], [])


def test_trap_54_long_properties_are_cut_in_lists():
    mime = MAIL.replace(b"Subject:", b"X-Long: " + b"y" * 600 + b"\r\nSubject:")

    def look(kit: Kit) -> Any:
        kit.deliver(mime)
        (shown,) = kit.get(f"/messages?{expanded('String 0x007D')}").json["value"]
        return len(shown["singleValueExtendedProperties"][0]["value"]) > 255

    assert seen("truncate-long-properties", look) == (False, True)


# -- 30-34, 45, 46: folders and mailboxes ------------------------------------------------------------


def test_trap_30_special_folders_have_names_of_the_mailboxs_language():
    def look(kit: Kit) -> Any:
        return kit.get("/mailFolders/inbox").json["displayName"]

    assert seen("localized-names", look, language="de-DE") == ("Posteingang", "Inbox")
    assert Kit().get("/mailFolders/clutter").status == 404  # absent


def test_trap_31_v1_lists_one_level():
    def look(kit: Kit) -> Any:
        parent = kit.post("/mailFolders", {"displayName": "A"}).json["id"]
        kit.post(f"/mailFolders/{parent}/childFolders", {"displayName": "B"})
        return "B" in [f["displayName"] for f in kit.get("/mailFolders?$top=100").json["value"]]

    assert seen("list-one-level", look) == (False, True)


def test_trap_32_two_siblings_of_one_name():
    def look(kit: Kit) -> Any:
        kit.tenant.outlook_folder(ALICE, "msgfolderroot", "a/b")
        try:
            kit.tenant.outlook_folder(ALICE, "msgfolderroot", "A/B")
        except ValueError:
            return 1
        return sum("/" in f["displayName"] for f in kit.get("/mailFolders?$top=100").json["value"])

    assert seen("duplicate-siblings-allowed-outside", look) == (2, 1)


def test_trap_33_a_rename_that_stops_half_way():
    kit = Kit()
    parent, folder = (kit.post("/mailFolders", {"displayName": n}).json["id"] for n in ("Target", "Old"))
    kit.post(f"/mailFolders/{parent}/childFolders", {"displayName": "new"})
    assert kit.patch(f"/mailFolders/{folder}", {"displayName": "New"}).status == 200
    answer = kit.post(f"/mailFolders/{folder}/move", {"destinationId": parent})
    assert (answer.status, answer.code) == (409, "ErrorFolderExists")
    assert kit.get(f"/mailFolders/{folder}").json["displayName"] == "New"


def test_trap_34_counts_are_of_more_than_messages():
    def look(kit: Kit) -> Any:
        trash = "/mailFolders/deleteditems"
        return kit.get(trash).json["totalItemCount"] - len(kit.get(f"{trash}/messages").ids)

    assert seen("counts-include-non-mail", look) == (2, 0)


def test_trap_34_counts_follow_later():
    def look(kit: Kit) -> Any:
        kit.tenant.deliver(ALICE, "inbox", MAIL)
        return kit.get("/mailFolders/inbox").json["totalItemCount"], len(kit.get("/messages").ids)

    assert seen("counts-lag", look) == ((0, 1), (1, 1))


def test_trap_45_chats_are_in_the_list_of_the_whole_mailbox():
    kit = Kit()
    kit.deliver(MAIL.replace(b"Subject: Hello", b"Subject: IM"), "conversationhistory")
    kit.deliver()
    listed = [m["subject"] for m in kit.get("/messages").json["value"]]
    assert sorted(listed) == ["Hello", "IM"]
    assert [m["subject"] for m in kit.get("/mailFolders/inbox/messages").json["value"]] == ["Hello"]


def test_trap_46_me_is_for_people():
    def look(kit: Kit) -> Any:
        answer = kit.get("/me/messages")
        return answer.status, answer.code

    assert seen("me-needs-delegated", look) == ((400, "BadRequest"), (404, "ResourceNotFound"))


# -- 35-38: queries ----------------------------------------------------------------------------------


def found(kit: Kit, query: str) -> int:
    answer = kit.get(f"/messages?{query}")
    return len(answer.ids) if answer.status == 200 else answer.status


def test_trap_35_the_index_knows_whole_words():
    def look(kit: Kit) -> Any:
        kit.deliver()
        return found(kit, '$search="ello"'), found(kit, '$search="hello"')

    assert seen("search-words-only", look) == ((0, 1), (1, 1))


def test_trap_35_the_index_is_late():
    def look(kit: Kit) -> Any:
        kit.tenant.deliver(ALICE, "inbox", MAIL)
        return found(kit, '$search="hello"')

    assert seen("search-lag", look) == (0, 1)


def test_trap_36_recipients_cannot_be_filtered():
    def look(kit: Kit) -> Any:
        kit.deliver()
        return found(kit, f"$filter=toRecipients/any(r: r/emailAddress/address eq '{ALICE}')")

    assert seen("recipient-filter-refused", look) == (400, 1)


def test_trap_37_what_is_sorted_must_lead_the_filter():
    query = "$filter=isRead eq false&$orderby=receivedDateTime desc"
    assert seen("orderby-needs-filter", lambda kit: found(filled(kit, 1), query)) == (400, 1)
    ordered = query.replace("$filter=", "$filter=receivedDateTime ge 1900-01-01T00:00:00Z and ")
    assert found(filled(Kit(), 1), ordered) == 1


def test_trap_38_an_absent_property_is_not_zero():
    deleted = "Integer {00062008-0000-0000-c000-000000000046} Id 0x8570"
    query = f"$filter=singleValueExtendedProperties/any(ep: ep/id eq '{deleted}' and cast(ep/value, Edm.Int32) eq "

    def look(kit: Kit) -> Any:
        kit.deliver()
        return found(kit, f"{query}0)"), found(kit, f"{query}null)")

    assert seen("absent-property-is-null", look) == ((0, 1), (1, 1))


# -- 19, 20, 52: sending -----------------------------------------------------------------------------

MINE = MAIL.replace(b"Dora <dora@example.net>", b"alice@example.com").replace(
    b"Alice <alice@example.com>", b"bob@example.com"
)


def test_trap_19_the_same_message_sent_again_is_delivered_again():
    kit = Kit()
    for _ in range(2):
        assert kit.post("/sendMail", encoded(MINE)).status == 202
    assert [m["internetMessageId"] for m in kit.tenant.listing(BOB, "inbox")] == ["<one@example.net>"] * 2


def test_trap_20_the_headers_are_the_envelope():
    def look(kit: Kit) -> Any:
        headers = {"x-envelope-to": CAROL, "content-type": "text/plain"}
        assert kit.post("/sendMail", encoded(MINE), headers).status == 202
        return [len(kit.tenant.listing(who, "inbox")) for who in (BOB, CAROL)]

    assert seen("sendmail-no-envelope", look) == ([1, 0], [0, 1])
    kit = Kit()
    kit.post("/sendMail", encoded(MINE.replace(b"Subject:", b"Bcc: carol@example.com\r\nSubject:")))
    (name,) = kit.get(f"/users/{CAROL}/messages").ids
    assert "bcc" not in header_names(kit.get(f"/users/{CAROL}/messages/{name}/$value").body)


@pytest.mark.parametrize(("rule", "name"), [
    ("x-headers-dropped", "x-foo"), ("odd-headers-dropped", "odd-header"), ("auto-submitted-dropped", "auto-submitted"),
    ("auto-submitted-dropped", "return-path"),
])  # fmt: skip
def test_trap_52_headers_are_dropped(rule, name):
    mime = name.encode() + b": <v>\r\n" + MINE

    def look(kit: Kit) -> Any:
        kit.post("/sendMail", encoded(mime))
        (message,) = kit.get(f"/users/{BOB}/messages").ids
        return name in header_names(kit.get(f"/users/{BOB}/messages/{message}/$value").body)

    assert seen(rule, look) == (False, True)


# -- 16, 17, 39, 40, 47, 49: over HTTP ---------------------------------------------------------------

Look = Callable[[Stage], Awaitable[Any]]


async def served(rule: str, look: Look) -> tuple[Any, Any]:
    """As `seen`, with a server and a stub of the model."""
    assert rule in RULES and rule not in OFF_AT_START
    async with staged() as s:
        strict = await look(s)
    async with staged() as s:
        await s.control("POST", "rules", {rule: False})
        return strict, await look(s)


def steps(count: int) -> list[dict[str, Any]]:
    return [{"id": str(n), "method": "GET", "url": f"/users/{BOB}/messages/{n}"} for n in range(count)]


async def test_trap_16_the_fifth_call_in_flight_is_refused():
    async def look(s: Stage) -> Any:
        await s.control("POST", "limits", {"service_ms": 50})
        answers = await asyncio.gather(*(s.get(f"/v1.0/users/{BOB}/messages/{n}") for n in range(5)))
        return sorted(answer.status_code for answer in answers)

    assert await served("concurrency-4", look) == ([200] * 4 + [429], [200] * 5)


async def test_trap_16_so_is_the_fifth_of_a_batch():
    async def look(s: Stage) -> Any:
        return sorted(r["status"] for r in (await s.batch(*steps(5))).json()["responses"])

    assert await served("batch-inner-429", look) == ([200] * 4 + [429], [200] * 5)


async def test_trap_06_inner_requests_do_not_inherit_the_preference():
    async def look(s: Stage) -> Any:
        await s.batch(*steps(1), Prefer='IdType="ImmutableId"')
        return "prefer" in s.model.seen[-1].headers

    assert await served("batch-headers-not-inherited", look) == (False, True)


async def test_trap_17_retry_after_is_a_fraction_in_a_lower_case_header():
    async def look(s: Stage) -> Any:
        await s.control("POST", "limits", {"requests_per_10min": 0})
        raw = dict((await s.get("/v1.0/me")).headers.raw)
        return b"." in raw[b"retry-after"]

    assert await served("retry-after-float", look) == (True, False)


def test_trap_39_a_chunk_that_is_not_the_last_answers_200():
    def look(kit: Kit) -> Any:
        answers = uploaded(kit, {})
        return [answer.status for answer in answers]

    assert seen("upload-next-200", look) == ([200, 201], [202, 201])
    first, last = uploaded(Kit(), {})
    assert first.body and not last.body and "Attachments('" in last.headers["Location"]


def test_trap_40_a_bearer_on_the_upload_url_is_401():
    def look(kit: Kit) -> Any:
        return uploaded(kit, {"authorization": "Bearer x"})[0].status

    assert seen("upload-bearer-refused", look) == (401, 200)


def uploaded(kit: Kit, headers: dict[str, str]) -> list[Any]:
    """Both halves of 3 MB put to a session of their own."""
    size = 3 * 1024 * 1024
    item = {"attachmentType": "file", "name": "x", "size": size}
    path = f"/messages/{kit.draft()}/attachments/createUploadSession"
    token = kit.post(path, {"AttachmentItem": item}).json["uploadUrl"].rsplit("/", 1)[1]
    spans = [(0, size // 2), (size // 2, size)]
    return [
        kit.tenant.upload(
            "PUT", token, {**headers, "content-range": f"bytes {a}-{b - 1}/{size}"}, bytes(b - a)
        )
        for a, b in spans
    ]


async def test_trap_47_a_policy_that_is_not_yet_in_force_is_a_fault_to_ask_for():
    async with staged() as s:
        await s.control(
            "POST", "faults", {"status": 403, "code": "ErrorAccessDenied", "path": BOB, "count": 1}
        )
        answers = [await s.get(f"/v1.0/users/{BOB}/messages") for _ in range(2)]
        assert [a.status_code for a in answers] == [403, 200]
        assert answers[0].json()["error"]["code"] == "ErrorAccessDenied"


async def test_trap_49_of_several_prefer_headers_the_last_counts():
    async def look(s: Stage) -> Any:
        prefers = [("Prefer", 'IdType="ImmutableId"'), ("Prefer", "odata.maxpagesize=5")]
        await s.http.get("/v1.0/me", headers=[*prefers, *s.bearer.items()])
        return "ImmutableId" in s.model.seen[-1].headers["prefer"]

    assert await served("prefer-last-wins", look) == (False, True)


# -- section 6.3: a property that does something ----------------------------------------------------


def test_section_6_3_a_time_to_send_is_waited_for():
    def look(kit):
        name = kit.draft(MAIL.replace(b"dora@example.net", b"alice@example.com"))
        body = {
            "singleValueExtendedProperties": [{"id": "SystemTime 0x3FEF", "value": "2031-01-01T00:00:00Z"}]
        }
        kit.patch(f"/messages/{name}", body)
        kit.settle()
        assert kit.post(f"/messages/{name}/send").status == 202
        kit.settle()
        return kit.get(f"/messages/{name}").json["isDraft"]

    assert seen("deferred-send-waits", look) == (True, False)


# -- 50: nothing is left out -------------------------------------------------------------------------


def test_trap_50_every_trap_has_its_test():
    shown = {int(n) for name in globals() if (n := name[len("test_trap_") :][:2]).isdigit()}
    assert shown | GATEWAY.keys() == set(range(1, 56))


@pytest.mark.parametrize("rule", sorted(RULES))
def test_trap_50_every_rule_is_tried_with_and_without(rule):
    here = Path(__file__)
    others = ("test_emulator_contract.py", "test_emulator_subscriptions.py")
    text = here.read_text() + "".join(here.with_name(name).read_text() for name in others)
    assert f'"{rule}"' in text


@pytest.mark.parametrize("where", GATEWAY.values())
def test_trap_50_what_is_the_gateways_is_tested_there(where):
    module, _, name = where.partition("::")
    assert callable(getattr(importlib.import_module(f"tests.{module}"), name))


def test_trap_50_strict_at_start():
    kit = Kit()
    assert {name for name in RULES if not kit.rules.on(name)} == OFF_AT_START
