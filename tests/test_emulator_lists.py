"""Lists: pages, `$select`, `$expand`, `$orderby`, `$count`, paths (contract section 4)."""

from urllib.parse import quote

import pytest
from emulator_kit import ALICE, BASE, IMMUTABLE, MAIL, Kit


def filled(count: int, **rest) -> Kit:
    kit = Kit(**rest)
    for n in range(count):
        kit.tenant.deliver_variant(ALICE, "inbox", MAIL, n, 1_700_000_000 + 60 * n)
    kit.settle()
    return kit


def test_a_page_has_ten_without_a_wish():
    kit = filled(25)
    page = kit.get("/mailFolders/inbox/messages")
    assert len(page.ids) == page.items == 10
    assert page.json["@odata.nextLink"].startswith(BASE)


def test_page_default_10_is_a_rule():
    assert len(filled(25, off=("page-default-10",)).get("/messages").ids) == 25


def test_pages_follow_each_other_newest_first():
    kit = filled(25)
    found, path = [], "/mailFolders/inbox/messages?$select=receivedDateTime"
    while path:
        page = kit.get(path).json
        found += page["value"]
        path = page.get("@odata.nextLink")
    assert len({m["id"] for m in found}) == 25
    times = [m["receivedDateTime"] for m in found]
    assert times == sorted(times, reverse=True)


def test_skip_pages_shift_when_mail_arrives_and_do_not_with_the_rule_off():
    for off, shifted in ((), True), (("skip-unstable",), False):
        kit = filled(12, off=off)
        first = kit.get("/messages?$top=5")
        kit.deliver()
        second = kit.get(first.json["@odata.nextLink"])
        assert bool(set(first.ids) & set(second.ids)) is shifted


@pytest.mark.parametrize(("query", "headers", "size"), [
    ("?$top=3", {}, 3),
    ("", {"prefer": "odata.maxpagesize=4"}, 4),
    ("?$top=3", {"prefer": "odata.maxpagesize=4"}, 3),
    ("?$top=1000", {}, 25),
    ("", {"prefer": 'IdType="ImmutableId", odata.maxpagesize=7'}, 7),
])  # fmt: skip
def test_page_sizes(query, headers, size):
    assert len(filled(25).get("/messages" + query, headers).ids) == size


@pytest.mark.parametrize("query", ["$top=1001", "$top=-1", "$top=x", "$skip=x", "$count=maybe", "$bogus=1"])
def test_bad_options_are_400(query):
    assert filled(1).get(f"/messages?{query}").status == 400


def test_count_in_the_page_and_as_text():
    kit = filled(25)
    assert kit.get("/messages?$count=true&$top=1").json["@odata.count"] == 25
    answer = kit.get("/mailFolders/inbox/messages/$count")
    assert (answer.body, answer.headers["Content-Type"]) == (b"25", "text/plain")
    assert kit.get("/messages/$count?$filter=isRead eq true").body == b"0"


def test_select_keeps_id_and_etag_and_takes_any_case():
    message = filled(1).get("/messages?$select=SUBJECT,isread").json["value"][0]
    assert set(message) == {"@odata.etag", "id", "subject", "isRead"}


def test_an_unknown_name_in_select_is_400():
    answer = filled(1).get("/messages?$select=subject,nonsense")
    assert (answer.status, answer.code) == (400, "BadRequest")
    assert "Parsing OData Select and Expand failed" in answer.json["error"]["message"]


def test_an_unknown_expand_is_400():
    assert filled(1).get("/messages?$expand=nonsense").status == 400


def test_options_work_without_the_dollar_and_navigation_names_in_select():
    kit = filled(1)
    expand = quote("singleValueExtendedProperties($filter=id eq 'Integer 0x0e07')")
    page = kit.get(f"/messages?select=subject,singleValueExtendedProperties&expand={expand}").json["value"][0]
    assert page["singleValueExtendedProperties"] == [{"id": "Integer 0xe07", "value": "2"}]


def test_expand_takes_several_properties_and_leaves_out_what_is_absent():
    kit = filled(1)
    asked = "id eq 'Integer 0x0E07' or id eq 'Integer 0x1081' or id eq 'String 0x1035'"
    message = kit.get(f"/messages?$expand=singleValueExtendedProperties($filter={asked})").json["value"][0]
    assert [p["id"] for p in message["singleValueExtendedProperties"]] == ["Integer 0xe07", "String 0x1035"]
    only = kit.get("/messages?$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x1081')")
    assert "singleValueExtendedProperties" not in only.json["value"][0]


def test_property_ids_come_back_normalised_unless_the_rule_is_off():
    kit = filled(1)
    path = "/messages?$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E08')"
    assert kit.get(path).json["value"][0]["singleValueExtendedProperties"][0]["id"] == "Integer 0xe08"
    kit.rules.set("property-id-normalised", False)
    assert kit.get(path).json["value"][0]["singleValueExtendedProperties"][0]["id"] == "Integer 0x0E08"


@pytest.mark.parametrize("bad", ["Integer", "Integer 0xZZ", "Nonsense 0x0E08", "String {x} Name y"])
def test_a_bad_property_id_is_400(bad):
    path = f"/messages?$expand=singleValueExtendedProperties($filter=id eq '{bad}')"
    assert filled(1).get(path).status == 400


def test_long_properties_are_cut_in_lists_and_whole_on_a_single_get():
    kit = Kit()
    mime = MAIL.replace(b"Subject:", b"X-Long: " + b"y" * 600 + b"\r\nSubject:")
    message = kit.deliver(mime)
    expand = "$expand=singleValueExtendedProperties($filter=id eq 'String 0x007D')"
    cut = kit.get(f"/messages?{expand}").json["value"][0]["singleValueExtendedProperties"][0]["value"]
    whole = kit.get(f"/messages/{message}?{expand}").json["singleValueExtendedProperties"][0]["value"]
    assert (len(cut), whole) == (255, mime.split(b"\r\n\r\n")[0].decode() + "\r\n")
    kit.rules.set("truncate-long-properties", False)
    assert (
        kit.get(f"/messages?{expand}").json["value"][0]["singleValueExtendedProperties"][0]["value"] == whole
    )


def test_a_key_in_parentheses_and_any_case_of_segments():
    kit = filled(3)
    for path in (
        "/MailFolders('inbox')/messages",
        "/mailfolders/INBOX/Messages",
        "/mailFolders/Inbox/messages",
    ):
        assert len(kit.get(path).ids) == 3
    name = kit.get("/messages").ids[0]
    assert kit.get(f"/messages('{name}')").status == 200
    assert kit.get(f"/mailFolders('inbox')/messages('{name}')").status == 200


def test_the_whole_mailbox_has_deleted_items_but_not_the_dumpster():
    kit = filled(3)
    first, second = kit.get("/messages", IMMUTABLE).ids[:2]
    kit.post(f"/messages/{first}/move", {"destinationId": "deleteditems"})
    kit.post(f"/messages/{second}/move", {"destinationId": "recoverableitemsdeletions"})
    ids = kit.get("/messages", IMMUTABLE).ids
    assert first in ids
    assert second not in ids


def test_unknown_segments_and_wrong_methods():
    kit = filled(1)
    answer = kit.get("/nonsense")
    assert (answer.status, answer.code) == (400, "BadRequest")
    assert "Resource not found for the segment 'nonsense'" in answer.json["error"]["message"]
    assert kit.call("PUT", "/messages").status == 405
    assert kit.post("/mailFolders/delta", {}).status == 405


def test_collections_carry_their_context():
    kit = filled(1)
    assert kit.get("/messages").json["@odata.context"].endswith("/messages")
    assert "$metadata#users('" in kit.get("/mailFolders").json["@odata.context"]


@pytest.mark.parametrize(("order", "status"), [
    ("$filter=isRead eq false&$orderby=receivedDateTime desc", 400),
    ("$filter=receivedDateTime ge 1900-01-01T00:00:00Z and isRead eq false&$orderby=receivedDateTime desc", 200),
    ("$filter=isRead eq false and receivedDateTime ge 1900-01-01&$orderby=receivedDateTime", 400),
    ("$filter=contains(subject,'x')&$orderby=subject", 400),
    ("$filter=receivedDateTime ge 1900-01-01 and flag/flagStatus eq 'flagged'&$orderby=receivedDateTime", 400),
    ("$orderby=subject", 200),
    ("$orderby=receivedDateTime asc", 200),
    ("$orderby=nonsense", 400),
])  # fmt: skip
def test_orderby_must_lead_the_filter(order, status):
    answer = filled(3).get(f"/messages?{order}")
    assert answer.status == status
    if status == 400 and "nonsense" not in order:
        assert answer.code == "InefficientFilter"


def test_orderby_needs_filter_is_a_rule():
    kit = filled(3, off=("orderby-needs-filter",))
    assert kit.get("/messages?$filter=isRead eq false&$orderby=receivedDateTime").status == 200


def test_ascending_order():
    found = filled(5).get("/messages?$orderby=receivedDateTime&$select=receivedDateTime").json["value"]
    assert [m["receivedDateTime"] for m in found] == sorted(m["receivedDateTime"] for m in found)


def test_bodies_are_html_unless_text_is_preferred():
    kit = filled(1)
    message = kit.get("/messages").json["value"][0]
    assert message["body"]["contentType"] == "html"
    answer = kit.get("/messages", {"prefer": 'outlook.body-content-type="text"'})
    assert answer.json["value"][0]["body"] == {"contentType": "text", "content": "Good morning.\r\n"}
    assert answer.headers["Preference-Applied"] == 'outlook.body-content-type="text"'


def test_scripts_leave_html_bodies_unless_unsafe_html_is_wanted():
    kit = Kit()
    mime = MAIL.replace(b"text/plain", b"text/html").replace(
        b"Good morning.", b"<script>x()</script><p>Hi</p>"
    )
    name = kit.deliver(mime)
    assert "script" not in kit.get(f"/messages/{name}").json["body"]["content"]
    unsafe = kit.get(f"/messages/{name}", {"prefer": "outlook.allow-unsafe-html"})
    assert "script" in unsafe.json["body"]["content"]


def test_header_lists_come_only_when_selected_also_in_lists():
    kit = filled(2)
    assert "internetMessageHeaders" not in kit.get("/messages").json["value"][0]
    headers = kit.get("/messages?$select=internetMessageHeaders").json["value"][0]["internetMessageHeaders"]
    assert [h["name"] for h in headers][:3] == ["Received", "From", "To"]
    assert {"name": "From", "value": "Dora <dora@example.net>"} in headers
