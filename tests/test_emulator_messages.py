"""Reading, changing, moving and deleting one message (contract sections 6 and 11)."""

import pytest
from emulator_kit import ALICE, APP, BOB, IMMUTABLE, MAIL, Kit

VERB = [{"id": "Integer 0x1081", "value": "102"}, {"id": "Integer 0x1080", "value": "261"}]


def expanded(kit: Kit, name: str, *ids: str) -> dict[str, str]:
    asked = " or ".join(f"id eq '{i}'" for i in ids)
    found = kit.get(f"/messages/{name}?$expand=singleValueExtendedProperties($filter={asked})").json
    return {p["id"]: p["value"] for p in found.get("singleValueExtendedProperties", [])}


def where(kit: Kit, name: str) -> str:
    return next(str(m["wellKnownName"]) for m in kit.tenant.listing(ALICE, None) if m["id"] == name)


def test_a_message_has_the_properties_of_the_contract():
    kit = Kit()
    message = kit.get(f"/messages/{kit.deliver()}").json
    assert message["@odata.etag"] == f'W/"{message["changeKey"]}"'
    assert message["from"] == {"emailAddress": {"name": "Dora", "address": "dora@example.net"}}
    assert message["internetMessageId"] == "<one@example.net>"
    assert message["sentDateTime"] == "2027-01-15T07:59:58Z"
    assert (message["isRead"], message["isDraft"], message["hasAttachments"]) == (False, False, False)
    assert message["bodyPreview"] == "Good morning."
    assert message["flag"] == {"flagStatus": "notFlagged"}
    assert "internetMessageHeaders" not in message
    assert "attachments" not in message
    assert "@odata.type" not in message


def test_a_draft_without_a_sender_has_no_from_at_all():
    kit = Kit()
    draft = kit.post("/messages", {"subject": "x"}).json
    assert "from" not in draft
    assert "sender" not in draft


def test_every_write_changes_change_key_and_modification_time():
    kit = Kit()
    name = kit.deliver()
    before = kit.get(f"/messages/{name}").json
    after = kit.patch(f"/messages/{name}", {"isRead": True}).json
    assert after["changeKey"] != before["changeKey"]
    assert after["lastModifiedDateTime"] > before["lastModifiedDateTime"]
    assert after["isRead"] is True


def test_prefer_minimal_answers_204():
    kit = Kit()
    answer = kit.patch(f"/messages/{kit.deliver()}", {"isRead": True}, {"prefer": "return=minimal"})
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("change", [
    {"importance": "high"}, {"categories": ["Red", "a, b"]}, {"inferenceClassification": "other"}, {"isRead": True},
    {"flag": {"flagStatus": "complete"}},
])  # fmt: skip
def test_what_may_change_at_any_time(change):
    kit = Kit()
    after = kit.patch(f"/messages/{kit.deliver()}", change).json
    assert {k: after[k] for k in change} == change


@pytest.mark.parametrize("change", [
    {"subject": "x"}, {"toRecipients": []}, {"body": {"contentType": "text", "content": "x"}},
    {"internetMessageId": "<x@x>"}, {"from": {"emailAddress": {"address": "x@x.org"}}},
])  # fmt: skip
def test_what_only_drafts_may_change(change):
    kit = Kit()
    answer = kit.patch(f"/messages/{kit.deliver()}", change)
    assert (answer.status, answer.code) == (400, "ErrorInvalidPropertySet")
    draft = kit.draft()
    assert kit.patch(f"/messages/{draft}", change).status == 200


def test_read_only_names_are_ignored_and_unknown_ones_refused():
    kit = Kit()
    name = kit.deliver()
    before = kit.get(f"/messages/{name}").json
    after = kit.patch(f"/messages/{name}", {"receivedDateTime": "2001-01-01T00:00:00Z", "isDraft": True}).json
    assert (after["receivedDateTime"], after["isDraft"]) == (before["receivedDateTime"], False)
    answer = kit.patch(f"/messages/{name}", {"datereceived": "x"})
    assert (answer.status, answer.code) == (400, "UnableToDeserializePostBody")
    kit.rules.set("unknown-key-refused", False)
    assert kit.patch(f"/messages/{name}", {"datereceived": "x"}).status == 200


@pytest.mark.parametrize("change", [
    {"isRead": "yes"}, {"categories": "Red"}, {"categories": ["x" * 256]}, {"importance": "urgent"}, {"flag": "x"},
    {"flag": {"flagStatus": "maybe"}}, {"flag": {"nonsense": 1}}, {"singleValueExtendedProperties": [{"id": "x"}]},
    {"singleValueExtendedProperties": [{"id": "Integer 0x1081", "value": "many"}]},
    {"singleValueExtendedProperties": [{"id": "Integer 0x1081", "value": 102}]},
    {"singleValueExtendedProperties": [{"id": "String 0x1081", "value": "many"}]},
])  # fmt: skip
def test_wrong_types_are_400(change):
    kit = Kit()
    assert kit.patch(f"/messages/{kit.deliver()}", change).status == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'"x"'])
def test_bodies_that_are_no_json_object_are_400(body):
    kit = Kit()
    answer = kit.patch(f"/messages/{kit.deliver()}", body, {"content-type": "application/json"})
    assert (answer.status, answer.code) == (400, "UnableToDeserializePostBody")


def test_flag_dates_need_a_start_and_go_with_not_flagged():
    kit = Kit()
    name = kit.deliver()
    at = {"dateTime": "2027-02-01T00:00:00", "timeZone": "UTC"}
    assert (
        kit.patch(f"/messages/{name}", {"flag": {"flagStatus": "flagged", "dueDateTime": at}}).status == 400
    )
    both = {"flagStatus": "flagged", "startDateTime": at, "dueDateTime": at}
    assert kit.patch(f"/messages/{name}", {"flag": both}).json["flag"] == both
    assert (
        kit.patch(f"/messages/{name}", {"flag": {"flagStatus": "complete"}}).json["flag"]["dueDateTime"] == at
    )
    cleared = kit.patch(f"/messages/{name}", {"flag": {"flagStatus": "notFlagged"}}).json["flag"]
    assert cleared == {"flagStatus": "notFlagged"}


def test_categories_keep_order_and_spelling_and_are_unique_whatever_the_case():
    kit = Kit()
    after = kit.patch(f"/messages/{kit.deliver()}", {"categories": ["Red", "blue", "RED"]}).json
    assert after["categories"] == ["Red", "blue"]


def test_verbs_flags_and_deleted_mark_are_extended_properties():
    kit = Kit()
    name = kit.deliver()
    deleted = "Integer {00062008-0000-0000-C000-000000000046} Id 0x8570"
    props = [*VERB, {"id": deleted, "value": "1"}, {"id": "Integer 0x1090", "value": "2"}]
    after = kit.patch(f"/messages/{name}", {"singleValueExtendedProperties": props}).json
    assert after["flag"]["flagStatus"] == "flagged"
    assert "singleValueExtendedProperties" not in after
    found = expanded(
        kit, name, "Integer 0x1081", "Integer 0x1080", deleted, "Integer 0x1090", "Integer 0x0E07"
    )
    assert found == {
        "Integer 0x1081": "102", "Integer 0x1080": "261", "Integer 0x1090": "2", "Integer 0xe07": "2",
        "Integer {00062008-0000-0000-c000-000000000046} Id 0x8570": "1",
    }  # fmt: skip


def test_computed_properties():
    kit = Kit()
    name = kit.deliver()
    kit.patch(f"/messages/{name}", {"isRead": True})
    found = expanded(kit, name, "Integer 0x0E07", "String 0x001A", "SystemTime 0x0E06", "SystemTime 0x0039",
                     "Integer 0x0E23", "Boolean 0x0E69", "String 0x1035", "Integer 0x1090")  # fmt: skip
    assert found["Integer 0xe07"] == "3"
    assert found["String 0x1a"] == "IPM.Note"
    assert found["SystemTime 0x39"] == "2027-01-15T07:59:58Z"
    assert found["Integer 0xe23"] == "1"
    assert found["Boolean 0xe69"] == "true"
    assert found["String 0x1035"] == "<one@example.net>"
    assert "Integer 0x1090" not in found


def test_the_article_number_is_new_after_a_move():
    kit = Kit()
    kit.deliver(folder="archive")
    name = kit.deliver()
    kit.post(f"/messages/{name}/move", {"destinationId": "archive"})
    assert expanded(kit, name, "Integer 0x0E23") == {"Integer 0xe23": "2"}


def test_a_header_can_be_read_as_a_named_property():
    kit = Kit()
    name = kit.deliver(MAIL.replace(b"Subject:", b"X-Foo: bar\r\nSubject:"))
    key = "String {00020386-0000-0000-c000-000000000046} Name X-Foo"
    assert expanded(kit, name, key) == {key.replace("X-Foo", "x-foo"): "bar"}


def test_message_flags_of_landed_mail_cannot_be_patched():
    kit = Kit()
    draft = kit.draft()
    props = {"singleValueExtendedProperties": [{"id": "Integer 0x0E07", "value": "1"}]}
    assert kit.patch(f"/messages/{draft}", props).json["isDraft"] is True
    assert kit.patch(f"/messages/{draft}", {"isDraft": False}).json["isDraft"] is True
    kit.rules.set("draft-is-forever", False)
    assert kit.patch(f"/messages/{draft}", props).json["isDraft"] is False


def test_if_match():
    kit = Kit()
    name = kit.deliver()
    etag = kit.get(f"/messages/{name}").json["@odata.etag"]
    assert kit.patch(f"/messages/{name}", {"isRead": True}, {"if-match": etag}).status == 200
    stale = kit.patch(f"/messages/{name}", {"isRead": False}, {"if-match": etag})
    assert (stale.status, stale.code) == (412, "ErrorIrresolvableConflict")
    junk = kit.patch(f"/messages/{name}", {"isRead": False}, {"if-match": 'W/"junk"'})
    assert (junk.status, junk.code) == (400, "ErrorInvalidChangeKey")
    assert kit.patch(f"/messages/{name}", {"isRead": False}, {"if-match": "*"}).status == 200


def test_a_patch_right_after_an_outside_write_meets_a_412_once():
    kit = Kit()
    name = kit.deliver()
    kit.tenant.outlook_patch(ALICE, name, {"isRead": True})
    assert kit.patch(f"/messages/{name}", {"isRead": False}).code == "ErrorIrresolvableConflict"
    assert kit.patch(f"/messages/{name}", {"isRead": False}).status == 200
    kit.tenant.outlook_patch(ALICE, name, {"isRead": True})
    kit.settle()
    assert kit.patch(f"/messages/{name}", {"isRead": False}).status == 200
    kit.rules.set("conflict-without-if-match", False)
    kit.tenant.outlook_patch(ALICE, name, {"isRead": True})
    assert kit.patch(f"/messages/{name}", {"isRead": False}).status == 200


# -- read receipts ---------------------------------------------------------------------------------

ASKING = MAIL.replace(b"Dora <dora@example.net>", b"Bob <bob@example.com>").replace(
    b"Subject:", b"Disposition-Notification-To: bob@example.com\r\nSubject:"
)
QUIET = [{"id": "Boolean 0x0029", "value": "false"}, {"id": "Boolean 0x0C06", "value": "false"}]


def test_marking_read_sends_the_receipt_once():
    kit = Kit()
    name = kit.deliver(ASKING)
    assert kit.get(f"/messages/{name}").json["isReadReceiptRequested"] is True
    for read in (True, False, True):
        kit.patch(f"/messages/{name}", {"isRead": read})
    found = kit.tenant.listing(BOB, "inbox")
    assert [m["subject"] for m in found] == ["Read: Hello"]


@pytest.mark.parametrize(("change", "off"), [
    ({"isRead": True, "singleValueExtendedProperties": QUIET}, ()),
    ({"isRead": True}, ("read-receipt-on-seen",)),
    ({"categories": ["x"]}, ()),
])  # fmt: skip
def test_no_receipt_where_it_was_suppressed(change, off):
    kit = Kit(off=off)
    kit.patch(f"/messages/{kit.deliver(ASKING)}", change)
    assert kit.tenant.listing(BOB, "inbox") == []


# -- move, copy, delete ----------------------------------------------------------------------------


def test_move_answers_201_and_keeps_received_date_and_immutable_id():
    kit = Kit()
    name = kit.deliver()
    before = kit.get(f"/messages/{name}").json
    kit.settle()
    answer = kit.post(f"/messages/{name}/move", {"destinationId": "archive"}, IMMUTABLE)
    assert (answer.status, answer.json["id"]) == (201, name)
    assert answer.json["receivedDateTime"] == before["receivedDateTime"]
    assert answer.json["lastModifiedDateTime"] > before["lastModifiedDateTime"]
    assert answer.json["parentFolderId"] != before["parentFolderId"]


@pytest.mark.parametrize(("body", "status"), [
    ({}, 400), ({"destinationId": ""}, 400), ({"destinationId": "nowhere"}, 400), ({"destinationId": "clutter"}, 404),
    ({"destinationId": "inbox", "x": 1}, 400),
])  # fmt: skip
def test_bad_destinations(body, status):
    kit = Kit()
    assert kit.post(f"/messages/{kit.deliver()}/move", body).status == status


def test_the_target_must_be_in_the_same_mailbox():
    kit = Kit()
    other = kit.get(f"/users/{BOB}/mailFolders/inbox").json["id"]
    assert kit.post(f"/messages/{kit.deliver()}/move", {"destinationId": other}).code == "ErrorFolderNotFound"


def test_copy_makes_a_new_id_with_equal_content():
    kit = Kit()
    name = kit.deliver()
    kit.patch(f"/messages/{name}", {"categories": ["x"], "singleValueExtendedProperties": VERB})
    copied = kit.post(f"/messages/{name}/copy", {"destinationId": "archive"}, IMMUTABLE)
    assert copied.status == 201
    twin = copied.json["id"]
    assert twin != name
    assert kit.get(f"/messages/{twin}").code == "ErrorItemNotFound"
    kit.settle()
    assert kit.value(twin) == kit.value(name)
    assert copied.json["categories"] == ["x"]
    assert expanded(kit, twin, "Integer 0x1081") == {"Integer 0x1081": "102"}


def test_delete_goes_to_deleted_items_then_to_recoverable_items():
    kit = Kit()
    name = kit.deliver()
    assert kit.delete(f"/messages/{name}").status == 204
    assert where(kit, name) == "deleteditems"
    assert kit.delete(f"/messages/{name}").status == 204
    assert where(kit, name) == "recoverableitemsdeletions"
    assert kit.get("/messages", IMMUTABLE).ids == []


def test_a_repeated_delete_is_harmless_only_with_the_rule_off():
    kit = Kit(off=("delete-again-destroys",))
    name = kit.deliver()
    kit.delete(f"/messages/{name}")
    kit.delete(f"/messages/{name}")
    assert where(kit, name) == "deleteditems"


def test_delete_by_a_stale_regular_id_is_404():
    kit = Kit()
    kit.deliver()
    regular = kit.get("/messages").ids[0]
    kit.delete(f"/messages/{regular}")
    assert kit.delete(f"/messages/{regular}").code == "ErrorItemNotFound"


def test_permanent_delete_leaves_nothing():
    kit = Kit()
    name = kit.deliver()
    assert kit.post(f"/messages/{name}/permanentDelete").status == 204
    assert kit.get(f"/messages/{name}").status == 404
    assert kit.tenant.listing(ALICE, None) == []


def test_soft_delete_by_move():
    kit = Kit()
    name = kit.deliver()
    assert kit.post(f"/messages/{name}/move", {"destinationId": "recoverableitemsdeletions"}).status == 201
    found = kit.get("/mailFolders/recoverableitemsdeletions/messages", IMMUTABLE)
    assert found.ids == [name]


def test_a_message_through_a_folder_that_does_not_exist_is_404():
    kit = Kit()
    name = kit.deliver()
    assert kit.get(f"/mailFolders/archive/messages/{name}").status == 200
    assert kit.get(f"/mailFolders/clutter/messages/{name}").status == 404


# -- open extensions -------------------------------------------------------------------------------


def test_open_extensions_live_with_the_message():
    kit = Kit()
    name = kit.deliver()
    body = {"@odata.type": "microsoft.graph.openTypeExtension", "extensionName": "com.x.y", "uid": 7}
    assert kit.post(f"/messages/{name}/extensions", body).status == 201
    assert kit.post(f"/messages/{name}/extensions", body).status == 409
    found = kit.get(f"/messages/{name}?$expand=extensions($filter=id eq 'com.x.y')").json["extensions"]
    assert [e["uid"] for e in found] == [7]
    assert kit.patch(f"/messages/{name}/extensions/com.x.y", {"uid": 8, "more": "a"}).json["uid"] == 8
    assert kit.get(f"/messages/{name}/extensions/com.x.y").json["more"] == "a"
    assert kit.delete(f"/messages/{name}/extensions/com.x.y").status == 204
    assert kit.get(f"/messages/{name}/extensions/com.x.y").status == 404
    assert kit.post(f"/messages/{name}/extensions", {"uid": 7}).status == 400


def test_mail_read_alone_may_not_write():
    kit = Kit()
    name = kit.deliver()
    reader = frozenset({"Mail.Read"})
    assert kit.get(f"/messages/{name}", scopes=reader).status == 200
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/move"), ("POST", "/send")):
        answer = kit.call(method, f"/messages/{name}{path}", {"isRead": True}, scopes=reader)
        assert (answer.status, answer.code) == (403, "ErrorAccessDenied")
    assert kit.get(f"/messages/{name}", scopes=APP).status == 200
