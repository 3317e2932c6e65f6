"""`$filter`: what works, what is refused and with which code (contract section 4)."""

import contextlib

import pytest
from emulator_kit import MAIL, Kit
from hypothesis import given
from hypothesis import strategies as st

DELETED = "Integer {00062008-0000-0000-c000-000000000046} Id 0x8570"


@pytest.fixture(scope="module")
def kit() -> Kit:
    made = Kit()
    one = made.deliver(MAIL, received=1_700_000_000)
    two = made.deliver(
        MAIL.replace(b"Hello", b"O'Brien's Report").replace(b"one@", b"two@").replace(b"dora@", b"eve@"),
        received=1_700_100_000,
    )
    made.patch(f"/messages/{one}", {"isRead": True, "categories": ["Red", "blue"]})
    body = {"flag": {"flagStatus": "flagged"}, "importance": "high", "inferenceClassification": "other"}
    props = [{"id": DELETED, "value": "1"}, {"id": "Integer 0x1081", "value": "102"}]
    made.patch(f"/messages/{two}", {**body, "singleValueExtendedProperties": props})
    made.settle()
    return made


def subjects(kit: Kit, text: str) -> list[str]:
    answer = kit.get(f"/messages?$select=subject&$filter={text}")
    assert answer.status == 200, answer.body
    return [m["subject"] for m in answer.json["value"]]


ONE, TWO = ["Hello"], ["O'Brien's Report"]


@pytest.mark.parametrize(("text", "found"), [
    ("isRead eq true", ONE),
    ("isRead eq false", TWO),
    ("not (isRead eq true)", TWO),
    ("isRead ne true and isDraft eq false", TWO),
    ("hasAttachments eq false", TWO + ONE),
    ("importance eq 'high'", TWO),
    ("inferenceClassification eq 'other'", TWO),
    ("receivedDateTime ge 2023-11-15T12:00:00Z", TWO),
    ("receivedDateTime lt 2023-11-15T12:00:00Z", ONE),
    ("receivedDateTime ge 2023-11-14 and receivedDateTime lt 2023-11-15", ONE),
    ("sentDateTime gt 2030-01-01T00:00:00Z", []),
    ("lastModifiedDateTime ge 2020-01-01T00:00:00Z", TWO + ONE),
    ("from/emailAddress/address eq 'EVE@example.net'", TWO),
    ("sender/emailAddress/address eq 'dora@example.net'", ONE),
    ("startswith(subject,'hell')", ONE),
    ("contains(subject,'report')", TWO),
    ("subject eq 'O''Brien''s Report'", TWO),
    ("internetMessageId eq '<two@example.net>'", TWO),
    ("internetMessageId eq '<none@example.net>'", []),
    ("categories/any(a:a eq 'red')", ONE),
    ("flag/flagStatus eq 'flagged'", TWO),
    ("flag/flagStatus eq 'notFlagged'", ONE),
    ("contains(body/content,'morning')", TWO + ONE),
    (f"singleValueExtendedProperties/any(ep: ep/id eq '{DELETED}' and cast(ep/value, Edm.Int32) eq 1)", TWO),
    (f"singleValueExtendedProperties/any(ep: ep/id eq '{DELETED}' and ep/value eq null)", ONE),
    (f"not (singleValueExtendedProperties/any(ep:ep/id eq '{DELETED}' and cast(ep/value,Edm.Int32) eq 1))", ONE),
    ("singleValueExtendedProperties/any(ep: ep/id eq 'Integer 0x1081' and cast(ep/value, Edm.Int32) ge 100)", TWO),
    ("singleValueExtendedProperties/any(e: e/id eq 'String 0x007D' and contains(e/value,'mx.example'))", TWO + ONE),
    ("isRead eq true or flag/flagStatus eq 'flagged'", TWO + ONE),
    ("(isRead eq true or importance eq 'high') and contains(subject,'e')", TWO + ONE),
    ("receivedDateTime lt 2023-11-15T12:00:00Z or importance eq 'high'", TWO + ONE),
])  # fmt: skip
def test_works(kit, text, found):
    assert subjects(kit, text.replace("+", "%2B")) == found


@pytest.mark.parametrize(("text", "code"), [
    ("toRecipients/any(r: r/emailAddress/address eq 'alice@example.com')", "ErrorInvalidUrlQueryFilter"),
    ("ccRecipients/any(r: r/emailAddress/address eq 'x')", "ErrorInvalidUrlQueryFilter"),
    ("endswith(subject,'x')", "ErrorInvalidUrlQueryFilter"),
    ("internetMessageHeaders/any(h: h/name eq 'X')", "BadRequest"),
    ("receivedDateTime ge '2023-11-15'", "ErrorInvalidUrlQueryFilter"),
    ("isRead eq 'true'", "ErrorInvalidUrlQueryFilter"),
    ("nonsense eq 'x'", "BadRequest"),
    ("isRead eq", "BadRequest"),
    ("isRead eq true and", "BadRequest"),
    ("(isRead eq true", "BadRequest"),
    ("isRead like true", "BadRequest"),
    ("subject eq 'unclosed", "BadRequest"),
    ("singleValueExtendedProperties/any(ep: ep/id eq 'junk' and ep/value eq 'x')", "ErrorInvalidProperty"),
    ("singleValueExtendedProperties/any(ep: ep/id eq 'String {00020386-0000-0000-c000-000000000046} Name x-a' "
     "and ep/value eq '1')", "ErrorInvalidUrlQueryFilter"),
    (" or ".join(["subject eq 'x'"] * 61), "ErrorRestrictionTooComplex"),
    ("(" * 300 + "isRead eq true" + ")" * 300, "ErrorRestrictionTooComplex"),
])  # fmt: skip
def test_is_refused(kit, text, code):
    answer = kit.get(f"/messages?$filter={text}")
    assert (answer.status, answer.code) == (400, code)


def test_an_absent_property_is_zero_only_with_the_rule_off():
    kit = Kit()
    kit.deliver()
    text = f"singleValueExtendedProperties/any(ep: ep/id eq '{DELETED}' and cast(ep/value, Edm.Int32) eq 0)"
    assert subjects(kit, text) == []
    kit.rules.set("absent-property-is-null", False)
    assert subjects(kit, text) == ["Hello"]


def test_recipient_filters_work_only_with_the_rule_off():
    kit = Kit(off=("recipient-filter-refused",))
    kit.deliver()
    text = "toRecipients/any(r: r/emailAddress/address eq 'alice@example.com')"
    assert subjects(kit, text) == ["Hello"]


def test_conversation_and_parent_folder():
    kit = Kit()
    name = kit.deliver()
    message = kit.get(f"/messages/{name}").json
    assert subjects(kit, f"conversationId eq '{message['conversationId']}'") == ["Hello"]
    assert subjects(kit, f"parentFolderId eq '{message['parentFolderId']}'") == ["Hello"]
    assert kit.get(
        f"/messages?$filter=receivedDateTime ge 1900-01-01 and conversationId eq '{message['conversationId']}'"
        "&$orderby=receivedDateTime"
    ).code == "InefficientFilter"  # fmt: skip


@given(st.text(alphabet="isReadeqtrue ()'andornotany:/,0x12-TZ", max_size=60))
def test_no_text_breaks_the_parser(text):
    from gateway.emulator.columns import MESSAGE_COLUMNS
    from gateway.emulator.errors import GraphError
    from gateway.emulator.filter import compile_filter
    from gateway.emulator.filter_terms import Table

    with contextlib.suppress(GraphError):  # a 400
        compile_filter(
            text, Table(MESSAGE_COLUMNS, {"categories": lambda i: ()}), max_nodes=20, absent_is_null=True
        )
