"""Attachments and upload sessions (contract sections 10.4 and 14)."""

import base64

import pytest
from emulator_kit import ALICE, BOB, DELEGATED, IMMUTABLE, MAIL, Kit

FILE = {"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentType": "text/plain",
        "contentBytes": "aGVsbG8=", "contentId": "cid1", "isInline": False}  # fmt: skip
THREE = 3 * 1024 * 1024


def session(kit: Kit, name: str, size: int = THREE, **more):
    item = {
        "attachmentType": "file",
        "name": "big.bin",
        "size": size,
        "contentType": "application/zip",
        **more,
    }
    return kit.post(f"/messages/{name}/attachments/createUploadSession", {"AttachmentItem": item}, IMMUTABLE)


def put(kit: Kit, url: str, start: int, data: bytes, size: int, **headers: str):
    token = url.rsplit("/", 1)[-1]
    sent = {"content-range": f"bytes {start}-{start + len(data) - 1}/{size}", **headers}
    return kit.tenant.upload("PUT", token, sent, data)


def test_add_list_read_delete():
    kit = Kit()
    name = kit.draft()
    made = kit.post(f"/messages/{name}/attachments", FILE)
    assert made.status == 201
    assert (made.json["name"], made.json["contentId"], made.json["contentBytes"]) == (
        "a.txt",
        "cid1",
        "aGVsbG8=",
    )
    assert made.json["size"] > 5
    assert kit.get(f"/messages/{name}").json["hasAttachments"] is True
    key = made.json["id"]
    value = kit.get(f"/messages/{name}/attachments/{key}/$value")
    assert (value.body, value.headers["Content-Type"]) == (b"hello", "text/plain")
    assert kit.get(f"/messages/{name}/attachments/{key}").json["contentBytes"] == "aGVsbG8="
    assert kit.delete(f"/messages/{name}/attachments/{key}").status == 204
    assert kit.get(f"/messages/{name}/attachments/{key}").status == 404
    assert kit.get(f"/messages/{name}").json["hasAttachments"] is False


def test_an_added_attachment_is_in_the_mime():
    kit = Kit()
    name = kit.draft()
    before = kit.value(name)
    kit.post(f"/messages/{name}/attachments", FILE)
    raw = kit.value(name)
    assert raw != before
    assert b'filename="a.txt"' in raw
    assert b"aGVsbG8=" in raw


def test_select_keeps_the_base_type_and_drops_the_bytes():
    kit = Kit()
    name = kit.draft()
    kit.post(f"/messages/{name}/attachments", FILE)
    (part,) = kit.get(f"/messages/{name}/attachments?$select=id,name,size").json["value"]
    assert {k for k in part if not k.startswith("@")} == {"id", "name", "size"}
    assert kit.get(f"/messages/{name}/attachments?$select=contentBytes").status == 400


@pytest.mark.parametrize("body", [
    {}, {"@odata.type": "#microsoft.graph.nonsense", "name": "x"}, {**FILE, "contentBytes": "!"}, {**FILE, "x": 1},
    {k: v for k, v in FILE.items() if k != "name"}, {**FILE, "contentBytes": 5},
])  # fmt: skip
def test_bad_attachments_are_400(body):
    kit = Kit()
    assert kit.post(f"/messages/{kit.draft()}/attachments", body).status == 400


def test_three_megabytes_need_a_session():
    kit = Kit()
    name = kit.draft()
    big = base64.b64encode(b"x" * THREE).decode()
    kit.world.limits["body_bytes"] = 10_000_000
    assert kit.post(f"/messages/{name}/attachments", {**FILE, "contentBytes": big}).status == 413


def test_a_reference_has_no_value_and_an_item_has_mime():
    kit = Kit()
    name = kit.draft()
    link = {
        "@odata.type": "#microsoft.graph.referenceAttachment",
        "name": "L",
        "sourceUrl": "https://x.org/f",
    }
    made = kit.post(f"/messages/{name}/attachments", link).json
    assert made["sourceUrl"] == "https://x.org/f"
    assert kit.get(f"/messages/{name}/attachments/{made['id']}/$value").status == 405
    inner = {
        "@odata.type": "#microsoft.graph.message",
        "subject": "In",
        "body": {"contentType": "text", "content": "t"},
    }
    item = {"@odata.type": "#microsoft.graph.itemAttachment", "name": "In", "item": inner}
    made = kit.post(f"/messages/{name}/attachments", item).json
    value = kit.get(f"/messages/{name}/attachments/{made['id']}/$value")
    assert value.body.startswith(b"Subject: In\r\n")


def test_an_item_attachment_of_received_mail_expands():
    kit = Kit()
    outer = (
        b'From: a@x.org\r\nSubject: F\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
        b"Content-Type: message/rfc822\r\n\r\n" + MAIL + b"\r\n--b--\r\n"
    )
    name = kit.deliver(outer)
    (part,) = kit.get(f"/messages/{name}/attachments").json["value"]
    assert "contentBytes" not in part
    path = f"/messages/{name}/attachments/{part['id']}"
    assert kit.get(f"{path}?$expand=microsoft.graph.itemattachment/item").json["item"]["subject"] == "Hello"
    assert kit.get(f"{path}/$value").body == MAIL


def test_attachment_ids_follow_the_format_of_the_message():
    kit = Kit()
    name = kit.draft()
    kit.post(f"/messages/{name}/attachments", FILE)
    short = kit.get(f"/messages/{name}/attachments", IMMUTABLE).ids[0]
    long = kit.get(f"/messages/{name}/attachments").ids[0]
    assert len(long) > len(short) > 68
    assert kit.get(f"/messages/{name}/attachments/{short}").json["id"] == long
    assert kit.get(f"/messages/{name}/attachments/junk").code == "ErrorInvalidIdMalformed"
    other = kit.draft()
    assert kit.get(f"/messages/{other}/attachments/{short}").code == "ErrorItemNotFound"


# -- upload sessions -------------------------------------------------------------------------------


def test_an_upload_in_order_200_then_201_with_a_location():
    kit = Kit()
    name = kit.draft()
    answer = session(kit, name, isInline=True, contentId="c9")
    assert answer.status == 201
    assert answer.json["nextExpectedRanges"] == ["0-"]
    url, data = answer.json["uploadUrl"], bytes(range(256)) * (THREE // 256)
    half = THREE // 2
    first = put(kit, url, 0, data[:half], THREE)
    assert first.status == 200
    assert f'"NextExpectedRanges":["{half}"]'.encode() in first.body
    last = put(kit, url, half, data[half:], THREE)
    assert (last.status, last.body) == (201, b"")
    key = last.headers["Location"].split("Attachments('")[1].rstrip("')")
    kit.settle()
    assert kit.get(f"/messages/{name}/attachments/{key}/$value").body == data
    part = kit.get(f"/messages/{name}/attachments/{key}").json
    assert (part["isInline"], part["contentId"], part["contentType"]) == (True, "c9", "application/zip")
    assert put(kit, url, 0, data, THREE).status == 404


def test_a_chunk_answers_202_with_the_rule_off():
    kit = Kit(off=("upload-next-200",))
    url = session(kit, kit.draft()).json["uploadUrl"]
    assert put(kit, url, 0, b"x" * 100, THREE).status == 202


def test_wrong_ranges_are_refused_and_the_session_goes_on():
    kit = Kit()
    url = session(kit, kit.draft()).json["uploadUrl"]
    assert put(kit, url, 100, b"x" * 100, THREE).status == 416
    assert put(kit, url, 0, b"x" * 100, THREE + 1).status == 400
    assert kit.tenant.upload("PUT", url.rsplit("/", 1)[-1], {}, b"x").status == 400
    assert put(kit, url, 0, b"x" * 100, THREE).status == 200
    assert put(kit, url, 0, b"x" * 100, THREE).status == 416


def test_a_bearer_on_the_upload_url_is_refused():
    kit = Kit()
    url = session(kit, kit.draft()).json["uploadUrl"]
    answer = put(kit, url, 0, b"x" * 10, THREE, authorization="Bearer t")
    assert answer.status == 401
    assert b"InvalidAudienceForResource" in answer.body
    kit.rules.set("upload-bearer-refused", False)
    assert put(kit, url, 0, b"x" * 10, THREE, authorization="Bearer t").status == 200


def test_delete_and_expiry_end_a_session():
    kit = Kit()
    name = kit.draft()
    url = session(kit, name).json["uploadUrl"]
    assert kit.tenant.upload("DELETE", url.rsplit("/", 1)[-1], {}, b"").status == 204
    assert put(kit, url, 0, b"x", THREE).status == 404
    url = session(kit, name).json["uploadUrl"]
    kit.settle(4000)
    assert put(kit, url, 0, b"x", THREE).status == 404


def test_small_and_huge_and_malformed_sessions():
    kit = Kit()
    name = kit.draft()
    small = session(kit, name, THREE - 1)
    assert (small.status, small.code) == (400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize")
    assert session(kit, name, 200 * 1024 * 1024).code == "ErrorMessageSizeExceeded"
    assert session(kit, name, "big").status == 400  # type: ignore[arg-type]
    assert kit.post(f"/messages/{name}/attachments/createUploadSession", {}).status == 400


def test_a_delegate_gets_no_session_in_a_shared_mailbox():
    kit = Kit()
    name = kit.draft()
    kit.tenant.rights.full_access[ALICE] = {BOB}
    item = {"AttachmentItem": {"attachmentType": "file", "name": "b", "size": THREE}}
    scopes = DELEGATED | {"Mail.ReadWrite.Shared"}
    path = f"/users/{ALICE}/messages/{name}/attachments/createUploadSession"
    assert kit.post(path, item, user=BOB, scopes=scopes).code == "ErrorAccessDenied"
