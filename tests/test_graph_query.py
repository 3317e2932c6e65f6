"""Addresses of calls, and which links may carry a token."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.graph.errors import BadId, Invalid
from gateway.graph.query import expand, literal, ordered_filter, path, pinned, query

BASE = "https://graph.microsoft.com/v1.0"


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}))
def test_an_argument_is_one_segment_and_comes_back(value: str) -> None:
    made = path("/messages/{id}/move", {"id": value})
    _, _, segment, last = made.split("/")
    assert unquote(segment, errors="strict") == value
    assert last == "move"
    assert not set(made) & set("?#+<>\"' \\")


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_an_empty_id_never_names_the_collection(value: str) -> None:
    with pytest.raises(BadId):
        path("/messages/{id}", {"id": value})


@given(st.text())
def test_a_query_value_comes_back(value: str) -> None:
    made = query({"$filter": value, "$skip": None})
    assert parse_qsl(made[1:], keep_blank_values=True) == [("$filter", value)]


def test_literals_double_their_quotes() -> None:
    assert literal("O'Brien") == "'O''Brien'"
    assert expand(()) is None
    assert expand(["Integer 0x1"]) == "singleValueExtendedProperties($filter=id eq 'Integer 0x1')"


@pytest.mark.parametrize(
    ("filter", "order", "expected"),
    [
        (None, "receivedDateTime asc", None),
        ("isRead eq false", None, "isRead eq false"),
        (
            "isRead eq false",
            "receivedDateTime desc",
            "receivedDateTime ge 1900-01-01T00:00:00Z and (isRead eq false)",
        ),
        (
            "receivedDateTime ge 2026-01-01T00:00:00Z",
            "receivedDateTime",
            "receivedDateTime ge 2026-01-01T00:00:00Z",
        ),
    ],
)
def test_what_is_sorted_leads_the_filter(filter: str | None, order: str | None, expected: str | None) -> None:
    assert ordered_filter(filter, order) == expected


@pytest.mark.parametrize(
    "link",
    [
        "https://graph.microsoft.com/v1.0/me/messages?$skip=10",
        "https://GRAPH.microsoft.com:443/v1.0/users('a')/messages",
    ],
)
def test_links_to_graph_are_followed(link: str) -> None:
    assert pinned(BASE, link) == link


@pytest.mark.parametrize(
    "link",
    [
        "",
        "/v1.0/me/messages",
        "http://graph.microsoft.com/v1.0/me",
        "https://graph.microsoft.com:8443/v1.0/me",
        "https://graph.microsoft.com.evil.example/v1.0/me",
        "https://evil.example/v1.0/me",
        "https://evil.example#@graph.microsoft.com/v1.0/me",
        "https://user@graph.microsoft.com/v1.0/me",
        "https://graph.microsoft.com@evil.example/v1.0/me",
        "https://graph.microsoft.com/beta/me",
        "https://graph.microsoft.com/v1.0evil",
        "https://graph.microsoft.com/v1.0/../beta/me",
        "https://graph.microsoft.com/v1.0/%2e%2e/beta/me",
        "https://graph.microsoft.com/v1.0/..%5cbeta",
        "https://[graph.microsoft.com/v1.0/me",
        "https://graph.microsoft.com:99999/v1.0/me",
        "//graph.microsoft.com/v1.0/me",
    ],
)
def test_no_other_link_gets_the_token(link: str) -> None:
    with pytest.raises(Invalid) as caught:
        pinned(BASE, link)
    assert caught.value.code == "ForeignLink"
    assert link == "" or link not in str(caught.value)


@given(st.text(max_size=60))
def test_pinning_agrees_with_the_parser(rest: str) -> None:
    link = "https://" + rest
    try:
        pinned(BASE, link)
    except Invalid:
        return
    assert urlsplit(link).hostname == "graph.microsoft.com"
