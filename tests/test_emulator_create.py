"""Creating messages: MIME drafts, JSON drafts, landing by MAPI properties (contract section 9)."""

import base64

import pytest
from emulator_kit import ALICE, IMMUTABLE, MAIL, Kit

NAMED = "String {00020386-0000-0000-c000-000000000046} Name "


def posted(kit: Kit, mime: bytes, path: str = "/messages"):
    return kit.post(path, base64.b64encode(mime), IMMUTABLE)


def test_a_mime_post_makes_a_read_draft_in_drafts_dated_now():
    kit = Kit()
    answer = posted(kit, MAIL)
    message = answer.json
    assert answer.status == 201
    assert (message["isDraft"], message["isRead"]) == (True, True)
    assert message["parentFolderId"] == kit.get("/mailFolders/drafts").json["id"]
    assert message["sentDateTime"] == "2027-01-15T07:59:58Z"
    assert message["receivedDateTime"] == message["createdDateTime"]
    assert message["internetMessageId"] == "<one@example.net>"
    assert "internetMessageHeaders" not in message


def test_drafts_have_no_header_list_and_no_raw_block():
    kit = Kit()
    name = kit.draft()
    path = f"/messages/{name}?$select=internetMessageHeaders&$expand=singleValueExtendedProperties"
    found = kit.get(f"{path}($filter=id eq 'String 0x007D')").json
    assert not found.get("internetMessageHeaders")
    assert "singleValueExtendedProperties" not in found


@pytest.mark.parametrize("path", ["/mailFolders/inbox/messages", "/mailFolders/drafts/messages"])
def test_mime_to_a_folder_is_refused(path):
    kit = Kit()
    answer = posted(kit, MAIL, path)
    assert (answer.status, answer.code) == (400, "UnableToDeserializePostBody")
    kit.rules.set("mime-to-folder-refused", False)
    assert posted(kit, MAIL, path).status == 201


@pytest.mark.parametrize(("body", "code"), [
    (b"", "UnableToDeserializePostBody"),
    (b"not base64!", "ErrorMimeContentInvalidBase64String"),
    (b"QUJD=QUJD", "ErrorMimeContentInvalidBase64String"),
    (b"QUJDR", "ErrorMimeContentInvalidBase64String"),
    (base64.b64encode(b"no header here"), "ErrorMimeContentInvalid"),
    (base64.b64encode(MAIL.replace(b"\r\n", b"\n")), "UnableToDeserializePostBody"),
])  # fmt: skip
def test_bad_mime_bodies(body, code):
    kit = Kit()
    answer = kit.post("/messages", body)
    assert (answer.status, answer.code) == (400, code)
    assert kit.tenant.listing(ALICE, None) == []


def test_bare_lf_passes_with_the_rule_off():
    assert posted(Kit(off=("bare-lf-refused",)), MAIL.replace(b"\r\n", b"\n")).status == 201


def test_base64_may_be_folded():
    assert Kit().post("/messages", base64.encodebytes(MAIL)).status == 201


def test_over_four_megabytes_is_413():
    kit = Kit()
    big = MAIL + b"x" * 3_200_000
    answer = posted(kit, big)
    assert (answer.status, answer.code) == (413, "RequestEntityTooLarge")
    assert posted(kit, MAIL + b"x" * 3_000_000).status == 201
    kit.rules.set("body-over-4mb", False)
    assert posted(kit, big).status == 201


def test_a_new_id_is_404_for_a_moment():
    kit = Kit()
    made = posted(kit, MAIL).json["id"]
    for method, path in (
        ("GET", ""),
        ("GET", "/$value"),
        ("PATCH", ""),
        ("GET", "/attachments"),
        ("POST", "/send"),
    ):
        assert kit.call(method, f"/messages/{made}{path}", {}).code == "ErrorItemNotFound"
    kit.settle(0.25)
    assert kit.get(f"/messages/{made}").status == 200


def test_a_new_id_is_there_at_once_with_the_rule_off():
    kit = Kit(off=("create-then-404",))
    assert kit.get(f"/messages/{posted(kit, MAIL).json['id']}").status == 200


# -- what happens to headers and parts -------------------------------------------------------------

ODD = MAIL.replace(
    b"Subject:",
    b"X-Foo: 1\r\nX-Bar: 2\r\nOdd-Header: 3\r\nAuto-Submitted: auto-replied\r\nReturn-Path: <r@x.org>\r\n"
    b"List-Unsubscribe: <mailto:u@x.org>\r\nX-MS-Exchange-Foo: 4\r\nSubject:",
)


def fields(raw: bytes) -> set[str]:
    return {line.split(b":")[0].decode().lower() for line in raw.split(b"\r\n\r\n")[0].split(b"\r\n")}


def test_headers_are_dropped_and_stamped():
    kit = Kit()
    kept = fields(kit.value(kit.draft(ODD)))
    gone = {"x-foo", "x-bar", "odd-header", "auto-submitted", "return-path", "x-ms-exchange-foo", "received"}
    assert not kept & gone
    assert {"from", "to", "subject", "message-id", "date", "list-unsubscribe", "thread-topic"} <= kept


@pytest.mark.parametrize(("rule", "survivors"), [
    ("x-headers-dropped", {"x-foo", "x-bar"}),
    ("odd-headers-dropped", {"odd-header"}),
    ("auto-submitted-dropped", {"auto-submitted", "return-path"}),
])  # fmt: skip
def test_each_kind_of_dropping_is_a_rule(rule, survivors):
    kit = Kit(off=(rule,))
    kept = fields(kit.value(kit.draft(ODD)))
    assert kept & {"x-foo", "x-bar", "odd-header", "auto-submitted", "return-path"} == survivors


def test_an_x_header_set_as_a_property_shows_and_is_known_from_then_on():
    kit = Kit()
    name = kit.draft(ODD)
    props = {"singleValueExtendedProperties": [{"id": NAMED + "X-Foo", "value": "1"}]}
    assert kit.patch(f"/messages/{name}", props).status == 200
    assert b"\r\nx-foo: 1\r\n" in kit.value(name)
    again = fields(kit.value(kit.draft(ODD)))
    assert "x-foo" in again
    assert "x-bar" not in again


QP = (
    b"From: a@x.org\r\nTo: b@x.org\r\nSubject: q\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n"
    b'Content-Transfer-Encoding: quoted-printable\r\n\r\n<p class=3D"x">=C3=A4</p>=\r\n<br>\r\n'
)


def test_quoted_printable_html_comes_out_mangled():
    kit = Kit()
    name = kit.draft(QP)
    assert 'class=3D"x"' in kit.get(f"/messages/{name}").json["body"]["content"]
    kit.rules.set("qp-mangled", False)
    assert '<p class="x">ä</p><br>' in kit.get(f"/messages/{kit.draft(QP)}").json["body"]["content"]


def test_base64_html_and_signed_parts_are_left_alone():
    kit = Kit()
    plain = QP.replace(
        b'quoted-printable\r\n\r\n<p class=3D"x">=C3=A4</p>=\r\n<br>\r\n', b"base64\r\n\r\nPHA+\r\n"
    )
    assert kit.get(f"/messages/{kit.draft(plain)}").json["body"]["content"] == "<p>"
    inner = QP.split(b"MIME-Version: 1.0\r\n")[1]
    signed = (
        b"From: a@x.org\r\nTo: b@x.org\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; "
        b'protocol="application/pgp-signature"; boundary="s"\r\n\r\n--s\r\n' + inner
        + b"--s\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--s--\r\n"
    )  # fmt: skip
    assert inner in kit.value(kit.draft(signed))


def test_a_draft_edited_by_json_keeps_its_body_and_gets_new_headers():
    kit = Kit()
    name = kit.draft(MAIL.replace(b"Good morning.", b"Body stays."))
    people = [{"emailAddress": {"name": "Grün, B", "address": "b@x.org"}}]
    after = kit.patch(f"/messages/{name}", {"subject": "New", "bccRecipients": people}).json
    assert (after["subject"], after["bccRecipients"][0]["emailAddress"]["address"]) == ("New", "b@x.org")
    raw = kit.value(name)
    assert b"Subject: New\r\n" in raw
    assert b"<b@x.org>" in raw
    assert raw.endswith(b"\r\n\r\nBody stays.\r\n")
    kit.patch(f"/messages/{name}", {"body": {"contentType": "text", "content": "Other."}})
    assert b"Body stays" not in kit.value(name)


def test_threading_properties_of_a_draft_become_headers():
    kit = Kit()
    name = kit.draft()
    props = [
        {"id": "String 0x1042", "value": "<p@x.org>"},
        {"id": "String 0x1039", "value": "<o@x.org> <p@x.org>"},
    ]
    kit.patch(f"/messages/{name}", {"singleValueExtendedProperties": props})
    assert b"In-Reply-To: <p@x.org>\r\nReferences: <o@x.org> <p@x.org>\r\n" in kit.value(name)


# -- JSON ------------------------------------------------------------------------------------------


def test_json_makes_a_draft_with_a_message_id_of_the_server():
    kit = Kit()
    answer = kit.post("/messages", {"subject": "x", "body": {"contentType": "html", "content": "<b>y</b>"}})
    assert (answer.status, answer.json["isDraft"], answer.json["isRead"]) == (201, True, True)
    assert answer.json["internetMessageId"].startswith("<")
    assert answer.json["parentFolderId"] == kit.get("/mailFolders/drafts").json["id"]


@pytest.mark.parametrize(("flags", "extra", "read"), [
    ("0", {}, False), ("1", {}, True), ("4", {}, False), ("4", {"isRead": True}, True), ("1", {"isRead": False}, False),
])  # fmt: skip
def test_message_flags_land_a_non_draft(flags, extra, read):
    kit = Kit()
    props = [{"id": "Integer 0x0E07", "value": flags}]
    made = kit.post(
        "/mailFolders/archive/messages", {"subject": "x", "singleValueExtendedProperties": props, **extra}
    )
    assert (made.status, made.json["isDraft"], made.json["isRead"]) == (201, False, read)
    assert made.json["parentFolderId"] == kit.get("/mailFolders/archive").json["id"]


def test_unsent_flag_and_no_flags_make_a_draft_in_the_folder():
    kit = Kit()
    for props in ([], [{"id": "Integer 0x0E07", "value": "9"}]):
        made = kit.post(
            "/mailFolders/archive/messages", {"subject": "x", "singleValueExtendedProperties": props}
        )
        assert made.json["isDraft"] is True


def test_dates_land_through_mapi_only():
    kit = Kit()
    dates = [{"id": "SystemTime 0x0E06", "value": "2001-02-03T04:05:06Z"},
             {"id": "SystemTime 0x0039", "value": "2001-02-03T04:05:00.1234567Z"}]  # fmt: skip
    made = kit.land(
        {"subject": "x", "receivedDateTime": "1999-01-01T00:00:00Z", "singleValueExtendedProperties": dates}
    )
    assert (made["receivedDateTime"], made["sentDateTime"]) == (
        "2001-02-03T04:05:06Z",
        "2001-02-03T04:05:00Z",
    )
    made = kit.land({"subject": "x", "receivedDateTime": "1999-01-01T00:00:00Z"})
    assert made["receivedDateTime"] == made["createdDateTime"]
    kit.rules.set("landing-dates-ignored", False)
    assert (
        kit.land({"subject": "x", "receivedDateTime": "1999-01-01T00:00:00Z"})["receivedDateTime"][:4]
        == "1999"
    )


def test_flags_categories_headers_and_deleted_mark_land_too():
    kit = Kit()
    deleted = "Integer {00062008-0000-0000-c000-000000000046} Id 0x8570"
    props = [{"id": "String 0x007D", "value": "Received: one\r\nX-Old: 1\r\n"}, {"id": deleted, "value": "1"},
             {"id": "Integer 0x1081", "value": "104"}]  # fmt: skip
    made = kit.land({
        "subject": "x", "flag": {"flagStatus": "flagged"}, "categories": ["Red"], "importance": "high",
        "singleValueExtendedProperties": props,
    })  # fmt: skip
    assert (made["flag"]["flagStatus"], made["categories"], made["importance"]) == (
        "flagged",
        ["Red"],
        "high",
    )
    listed = kit.tenant.listing(ALICE, "inbox")[0]
    assert (listed["deleted"], listed["verb"]) == ("1", 104)
    headers = kit.get(f"/messages/{made['id']}?$select=internetMessageHeaders").json["internetMessageHeaders"]
    assert headers == [{"name": "Received", "value": "one"}, {"name": "X-Old", "value": "1"}]


def test_a_returned_message_can_be_posted_back_with_its_server_managed_keys():
    kit = Kit()
    echo = kit.get(f"/messages/{kit.draft()}").json
    assert kit.post("/mailFolders/inbox/messages", echo).status == 201


def test_unknown_keys_are_refused_on_create():
    answer = Kit().post("/messages", {"subject": "x", "datereceived": "y"})
    assert (answer.status, answer.code) == (400, "UnableToDeserializePostBody")


@pytest.mark.parametrize(("headers", "code"), [
    ([{"name": "In-Reply-To", "value": "<a@b>"}], "InvalidInternetMessageHeader"),
    ([{"name": f"x-{n}", "value": "1"} for n in range(6)], "InvalidInternetMessageHeaderCollection"),
])  # fmt: skip
def test_posted_headers_are_x_headers_and_five(headers, code):
    answer = Kit().post("/messages", {"internetMessageHeaders": headers})
    assert (answer.status, answer.code) == (400, code)


def test_posted_x_headers_show_in_the_mime():
    kit = Kit()
    made = kit.post(
        "/messages", {"internetMessageHeaders": [{"name": "X-Foo", "value": "1"}]}, IMMUTABLE
    ).json["id"]
    kit.settle()
    assert b"\r\nx-foo: 1\r\n" in kit.value(made)


def test_a_full_mailbox_takes_nothing():
    kit = Kit()
    kit.deliver()
    kit.world.limits["quota_bytes"] = 1
    for answer in (
        posted(kit, MAIL),
        kit.post("/messages", {}),
        kit.post("/mailFolders", {"displayName": "x"}),
    ):
        assert (answer.status, answer.code) == (403, "ErrorQuotaExceeded")
    assert kit.get("/messages").status == 200


def test_wrong_content_types():
    kit = Kit()
    assert kit.post("/messages", b"{}", {"content-type": "application/xml"}).status == 415
    assert kit.post("/messages", b"{}", {"content-type": ""}).status == 400
