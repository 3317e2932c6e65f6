"""`$search`: whole words of an index that lags (contract section 4, trap 35)."""

import contextlib

import pytest
from emulator_kit import MAIL, Kit
from hypothesis import given
from hypothesis import strategies as st

from gateway.emulator.errors import GraphError
from gateway.emulator.search import compile_search


@pytest.fixture(scope="module")
def kit() -> Kit:
    made = Kit()
    made.deliver(
        MAIL.replace(b"Good morning.", "Das Frühstück ist fertig, Kolleginnen".encode()),
        received=1_700_000_000,
    )
    made.deliver(
        MAIL.replace(b"Hello", b"Quarterly report").replace(b"Dora <dora@", b"Eve <eve@"),
        received=1_710_000_000,
    )
    made.settle()
    return made


def found(kit: Kit, kql: str) -> list[str]:
    answer = kit.get("/messages?$select=subject&$search=" + kql.replace("+", "%2B"))
    assert answer.status == 200, answer.body
    return [m["subject"] for m in answer.json["value"]]


A, B = "Hello", "Quarterly report"


@pytest.mark.parametrize(("kql", "subjects"), [
    ('"hello"', [A]),
    ('"fruhstuck"', [A]),
    ('"Kolleg"', []),
    ('"kolleg*"', [A]),
    ('"*ginnen"', []),
    ('"subject:report"', [B]),
    ('"subject:\\"quarterly report\\""', [B]),
    ('"from:eve"', [B]),
    ('"from:eve@example.net"', [B]),
    ('"participants:alice"', [A, B]),
    ('"to:dora"', []),
    ('"hello OR report"', [A, B]),
    ('"hello AND report"', []),
    ('"morning NOT eve"', []),
    ('"NOT hello"', [B]),
    ('"(hello OR report) from:dora"', [A]),
    ('"received:2024-01-01..2024-12-31"', [B]),
    ('"received>=2024-01-01"', [B]),
    ('"received<2024-01-01"', [A]),
    ('"size:1..500000"', [A, B]),
    ('"hasAttachments:true"', []),
    ('"importance:normal"', [A, B]),
])  # fmt: skip
def test_kql(kit, kql, subjects):
    assert sorted(found(kit, kql)) == sorted(subjects)


@pytest.mark.parametrize("query", ["$search=hello", '$search="(hello"', '$search=""', '$search="nonsense:x"'])
def test_bad_searches_are_400(kit, query):
    assert kit.get("/messages?" + query).status == 400


def test_no_filter_orderby_or_skip_beside_it(kit):
    assert kit.get('/messages?$search="hello"&$filter=isRead eq false').code == "SearchWithFilter"
    assert kit.get('/messages?$search="hello"&$orderby=subject').code == "SearchWithOrderBy"
    assert kit.get('/messages?$search="hello"&$skip=1').status == 400


def test_sorted_by_sent_date_and_paged_by_token():
    kit = Kit()
    for n in range(7):
        sent = f"Date: Fri, {10 + n} Jan 2025 00:00:00 +0000".encode()
        kit.deliver(MAIL.replace(b"Date: Fri, 15 Jan 2027 07:59:58 +0000", sent))
    page = kit.get('/messages?$search="hello"&$top=3&$select=sentDateTime')
    assert "$skiptoken" in page.json["@odata.nextLink"]
    rest = kit.get(page.json["@odata.nextLink"])
    times = [m["sentDateTime"] for m in page.json["value"] + rest.json["value"]]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 6


def test_new_mail_and_drafts_are_missed_for_a_while():
    kit = Kit()
    kit.tenant.deliver("alice@example.com", "inbox", MAIL)
    assert found(kit, '"hello"') == []
    kit.settle()
    assert found(kit, '"hello"') == [A]
    kit.draft()
    assert found(kit, '"hello"') == [A]
    kit.rules.set("search-lag", False)
    assert found(kit, '"hello"') == [A, A]


def test_substrings_match_only_with_the_rule_off(kit):
    kit.rules.set("search-words-only", False)
    assert found(kit, '"olleg"') == [A]
    kit.rules.set("search-words-only", True)


@given(st.text(alphabet='abAND OR NOT()":*\\<>=1', max_size=40))
def test_no_text_breaks_the_parser(text):
    with contextlib.suppress(GraphError):  # a 400
        compile_search(f'"{text}"', whole_words=True)
