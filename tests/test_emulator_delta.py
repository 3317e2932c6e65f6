"""Change tracking of messages: rounds, pages, lag, holes, replays, token death (contract sections 7 and 12)."""

import pytest
from emulator_kit import ALICE, BASE, IMMUTABLE, MAIL, Kit
from hypothesis import given, settings
from hypothesis import strategies as st

DELTA = "/mailFolders/inbox/messages/delta"
MANY = {"prefer": 'IdType="ImmutableId", odata.maxpagesize=500'}
CALM = ("delta-replays", "delta-empty-pages", "delta-lag")


def filled(count: int, *off: str) -> Kit:
    kit = Kit(off=off)
    for n in range(count):
        kit.tenant.deliver_variant(ALICE, "inbox", MAIL, n, 1_700_000_000 + 60 * n)
    kit.settle()
    return kit


def test_a_first_round_lists_all_and_the_next_nothing():
    kit = filled(25)
    first = kit.delta()
    assert len(set(first.added)) == 25
    assert first.rows[0]["@odata.type"] == "#microsoft.graph.message"
    assert first.link.startswith(BASE)
    assert kit.delta(first.link).rows == []


def test_pages_have_ten_without_the_preference_on_each_call():
    kit = filled(25, *CALM)
    page = kit.get(DELTA, {"prefer": "odata.maxpagesize=20"})
    assert len(page.ids) == 20
    assert len(kit.get(DELTA).ids) == 10
    assert len(kit.get(page.json["@odata.nextLink"]).ids) == 5


def test_pages_are_capped_at_512():
    kit = filled(600, *CALM)
    assert len(kit.get(DELTA, {"prefer": "odata.maxpagesize=1000"}).ids) == 512
    kit.rules.set("page-cap-512", False)
    assert len(kit.get(DELTA, {"prefer": "odata.maxpagesize=1000"}).ids) == 600


def test_a_page_may_be_empty_and_still_go_on():
    kit = filled(25)
    second = kit.get(kit.get(DELTA).json["@odata.nextLink"])
    assert second.ids == []
    assert "@odata.nextLink" in second.json


def test_a_row_may_come_twice_in_a_round():
    kit = filled(40)
    rows = kit.delta(DELTA, IMMUTABLE).added
    assert len(set(rows)) == 40
    assert len(rows) > 40
    kit.rules.set("delta-replays", False)
    assert len(kit.delta(DELTA, IMMUTABLE).added) == 40


def test_new_changed_and_deleted():
    kit = filled(3)
    first = kit.delta()
    new = kit.deliver()
    kit.patch(f"/messages/{first.added[0]}", {"isRead": True})
    kit.delete(f"/messages/{first.added[1]}")
    kit.settle()
    second = kit.delta(first.link)
    assert set(second.added) == {new, first.added[0]}
    assert second.removed == [first.added[1]]
    assert [r["@removed"] for r in second.rows if "@removed" in r] == [{"reason": "deleted"}]
    changed = next(r for r in second.rows if r["id"] == first.added[0])
    assert changed["isRead"] is True


def test_a_change_may_be_told_once_more_and_then_no_more():
    kit = Kit()
    link = kit.delta().link
    told = 0
    for _ in range(6):
        kit.deliver()
        link = kit.delta(link).link
        again = kit.delta(link)
        told += len(again.rows)
        link = again.link
        assert kit.delta(link).rows == []
    assert told >= 1


def test_select_is_baked_in_and_decides_what_shows():
    kit = filled(1)
    name = kit.get("/messages", IMMUTABLE).ids[0]
    narrow = kit.delta(DELTA + "?$select=subject")
    flags = kit.delta(DELTA + "?$select=isRead")
    wide = kit.delta(DELTA + "?$select=subject,changeKey,lastModifiedDateTime")
    assert set(narrow.rows[0]) == {"@odata.type", "@odata.etag", "id", "subject"}
    kit.patch(f"/messages/{name}", {"isRead": True})
    kit.settle()
    assert kit.delta(narrow.link).rows == []
    assert kit.delta(flags.link).rows[0]["isRead"] is True
    wide = kit.delta(wide.link)
    assert len(wide.rows) == 1
    kit.patch(
        f"/messages/{name}", {"singleValueExtendedProperties": [{"id": "Integer 0x1081", "value": "102"}]}
    )
    kit.settle()
    assert kit.delta(flags.link).added == [name]
    assert kit.delta(wide.link).added == [name]
    assert kit.delta(kit.delta(flags.link).link).rows == []


def test_extended_property_changes_alone_show_only_with_the_change_key_selected():
    kit = filled(1)
    name = kit.get("/messages", IMMUTABLE).ids[0]
    narrow, wide = kit.delta(DELTA + "?$select=subject,isRead"), kit.delta(DELTA + "?$select=changeKey")
    kit.patch(
        f"/messages/{name}", {"singleValueExtendedProperties": [{"id": "Integer 0x1081", "value": "102"}]}
    )
    kit.settle()
    assert kit.delta(narrow.link).rows == []
    assert kit.delta(wide.link).added == [name]


def test_a_moved_message_leaves_one_folder_and_enters_the_other():
    kit = filled(1)
    inbox, archive = kit.delta(), kit.delta("/mailFolders/archive/messages/delta")
    name = inbox.added[0]
    kit.post(f"/messages/{name}/move", {"destinationId": "archive"})
    kit.settle()
    assert kit.delta(inbox.link).removed == [name]
    assert kit.delta(archive.link).added == [name]


def there_and_back(kit: Kit, name: str) -> None:
    for folder in ("archive", "inbox"):
        kit.post(f"/messages/{name}/move", {"destinationId": folder})
    kit.settle()


def test_there_and_back_is_lost_with_immutable_ids():
    kit = filled(1)
    first = kit.delta()
    name = first.added[0]
    there_and_back(kit, name)
    second = kit.delta(first.link)
    assert (second.removed, second.added) == ([name], [])
    third = kit.delta(second.link)
    assert third.rows == []
    kit.patch(f"/messages/{name}", {"isRead": True})
    kit.settle()
    assert kit.delta(third.link).added == [name]


def test_there_and_back_is_an_addition_with_the_rule_off():
    kit = filled(1, "immutable-id-hole")
    first = kit.delta()
    there_and_back(kit, first.added[0])
    assert kit.delta(first.link).added == first.added


def test_there_and_back_under_regular_ids_is_a_removal_and_an_addition():
    kit = filled(1)
    first = kit.delta(DELTA, {})
    there_and_back(kit, kit.get("/messages", IMMUTABLE).ids[0])
    assert kit.get(f"/messages/{first.added[0]}").status == 404
    name = kit.get("/messages").ids[0]
    second = kit.delta(first.link, {})
    assert (second.removed, second.added) == (first.added, [name])


def test_there_and_back_between_two_polls_of_its_own_is_no_hole():
    kit = filled(1)
    first = kit.delta()
    name = first.added[0]
    kit.post(f"/messages/{name}/move", {"destinationId": "archive"})
    kit.settle()
    second = kit.delta(first.link)
    kit.post(f"/messages/{name}/move", {"destinationId": "inbox"})
    kit.settle()
    assert kit.delta(second.link).added == [name]


def test_links_serve_both_id_formats():
    kit = filled(1)
    link = kit.delta().link
    kit.patch(f"/messages/{kit.get('/messages').ids[0]}", {"isRead": True})
    kit.settle()
    assert len(kit.get(link, MANY).ids[0]) == 68
    assert len(kit.get(link).ids[0]) == 152


def test_delta_lags_behind_and_shows_the_flags_of_before():
    kit = filled(1)
    first = kit.delta()
    name = first.added[0]
    kit.patch(f"/messages/{name}", {"isRead": True, "categories": ["Red"]})
    assert kit.get(f"/messages/{name}").json["isRead"] is True
    assert kit.delta(first.link).rows == []
    kit.settle(0.15)
    kit.patch(f"/messages/{name}", {"isRead": False, "categories": []})
    kit.settle(0.1)
    stale = kit.delta(first.link)
    assert [(r["isRead"], r["categories"]) for r in stale.rows] == [(True, ["Red"])]
    kit.settle()
    fresh = kit.delta(stale.link)
    assert fresh.rows[-1]["isRead"] is False
    assert fresh.rows[-1]["changeKey"] != stale.rows[0]["changeKey"]


def test_without_the_lag_a_change_shows_at_once():
    kit = filled(1, "delta-lag")
    first = kit.delta()
    kit.patch(f"/messages/{first.added[0]}", {"isRead": True})
    assert kit.delta(first.link).rows[0]["isRead"] is True


def test_top_limits_the_whole_round():
    kit = filled(25)
    assert len(kit.delta(DELTA + "?$top=3").rows) == 3
    kit.rules.set("top-limits-delta", False)
    assert len(kit.delta(DELTA + "?$top=3").added) == 25


def test_filter_by_received_date_only_and_at_most_5000():
    kit = filled(25, *CALM)
    since = "receivedDateTime ge 2023-11-14T22:20:00Z"
    found = kit.delta(f"{DELTA}?$filter={since}&$select=receivedDateTime").rows
    assert found
    assert all(r["receivedDateTime"] >= "2023-11-14T22:20:00Z" for r in found)
    kit.world.limits["delta_filter_items"] = 4
    assert len(kit.delta(f"{DELTA}?$filter={since}").rows) == 4


@pytest.mark.parametrize("query", [
    "$filter=isRead eq true", "$filter=receivedDateTime lt 2023-01-01", "$search=\"x\"", "$orderby=subject",
    "$skip=3", "$count=true", "changeType=moved", "$select=nonsense", "$deltatoken=latest", "$skiptoken=junk",
    "$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E07')",
])  # fmt: skip
def test_options_that_change_tracking_refuses(query):
    assert filled(1).get(f"{DELTA}?{query}").status == 400


def test_expand_and_order_where_allowed():
    kit = filled(2, "delta-expand-refused")
    path = DELTA + "?$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E07')"
    assert kit.delta(path).rows[0]["singleValueExtendedProperties"][0]["value"] == "2"
    assert len(kit.delta(DELTA + "?$orderby=receivedDateTime desc").rows) == 2


def test_change_types():
    kit = filled(2)
    first = kit.delta(DELTA + "?changeType=deleted")
    assert first.rows == []
    name = kit.get("/messages", IMMUTABLE).ids[0]
    kit.deliver()
    kit.delete(f"/messages/{name}")
    kit.settle()
    assert [r["id"] for r in kit.delta(first.link).rows] == [name]


def test_a_dead_token_dies_in_three_ways_and_a_new_round_works():
    kit = filled(1)
    links = [kit.delta().link for _ in range(3)]
    assert kit.tenant.expire_delta() == 3
    answers = [kit.get(link) for link in links]
    assert [a.status for a in answers] == [410, 404, 400]
    assert [a.code for a in answers[:2]] == ["SyncStateNotFound"] * 2
    location = answers[0].headers["Location"]
    assert location.endswith("$deltatoken=")
    assert len(kit.delta(location).added) == 1
    kit.rules.set("token-death-varies", False)
    assert [kit.get(link).status for link in links] == [410, 410, 410]


def test_a_token_is_bound_to_its_folder_and_cannot_be_made_up():
    kit = filled(1)
    token = kit.delta().link.split("=")[-1]
    assert kit.get(f"/mailFolders/archive/messages/delta?$deltatoken={token}").status == 400
    assert kit.get(f"/mailFolders/delta?$deltatoken={token}").status == 400
    assert kit.get(f"{DELTA}?$deltatoken={token[:-4]}AAAA").status == 400


def test_a_short_log_kills_old_tokens():
    kit = filled(1)
    kit.world.limits["delta_log"] = 4
    old = kit.delta()
    for _ in range(8):
        kit.deliver()
    assert kit.get(old.link).status == 410
    assert len(set(kit.delta().added)) == 9


def test_a_full_mailbox_refuses_delta_but_not_lists():
    kit = filled(1)
    link = kit.delta().link
    kit.world.limits["quota_bytes"] = 1
    for path in (DELTA, link, "/mailFolders/delta"):
        answer = kit.get(path)
        assert (answer.status, answer.code) == (403, "ErrorQuotaExceeded")
    assert len(kit.get("/mailFolders/inbox/messages").ids) == 1
    kit.rules.set("delta-quota", False)
    assert kit.get(link).status == 200


def test_a_destroyed_folder_ends_its_delta_and_a_renamed_one_does_not():
    kit = Kit()
    folder = kit.post("/mailFolders", {"displayName": "X"}).json["id"]
    kit.deliver(folder=folder)
    path = f"/mailFolders/{folder}/messages/delta"
    link = kit.delta(path).link
    kit.patch(f"/mailFolders/{folder}", {"displayName": "Y"})
    kit.post(f"/mailFolders/{folder}/move", {"destinationId": "archive"})
    assert kit.get(link).status == 200
    kit.post(f"/mailFolders/{folder}/permanentDelete")
    assert (kit.get(link).status, kit.get(link).code) == (404, "ErrorSyncFolderNotFound")
    assert kit.get(path).code == "ErrorItemNotFound"


def test_a_moved_draft_and_a_sent_one_show_in_drafts_as_gone():
    kit = Kit()
    link = kit.delta("/mailFolders/drafts/messages/delta").link
    name = kit.draft(MAIL.replace(b"dora@example.net", b"alice@example.com"))
    one = kit.delta(link)
    assert one.added == [name]
    kit.post(f"/messages/{name}/send")
    kit.settle()
    assert kit.delta(one.link).removed == [name]


STEPS = st.lists(
    st.tuples(st.sampled_from(["new", "read", "out", "back", "gone", "poll", "wait"]), st.integers(0, 5)),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_with_the_hole_closed_deltas_always_add_up_to_the_folder(steps):
    kit = Kit(off=("immutable-id-hole",))
    held: set[str] = set()
    names: list[str] = []
    state = kit.delta()

    def poll() -> None:
        nonlocal state
        state = kit.delta(state.link)
        for row in state.rows:
            (held.discard if "@removed" in row else held.add)(row["id"])

    for step, at in steps:
        name = names[at % len(names)] if names else None
        if step == "new":
            names.append(kit.tenant.deliver(ALICE, "inbox", MAIL))
        elif step == "poll":
            poll()
        elif step == "wait":
            kit.settle(0.1)
        elif name is not None:
            if step == "read":
                kit.patch(f"/messages/{name}", {"isRead": bool(at % 2)})
            elif step == "gone":
                kit.post(f"/messages/{name}/permanentDelete")
            else:
                kit.post(f"/messages/{name}/move", {"destinationId": "archive" if step == "out" else "inbox"})
    kit.settle()
    poll()
    assert held == set(kit.get("/mailFolders/inbox/messages?$top=1000", IMMUTABLE).ids)
