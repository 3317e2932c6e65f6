"""Folders: well-known names, trees, operations, names and their clashes, counts (contract section 5)."""

import pytest
from emulator_kit import ALICE, MAIL, Kit


def made(kit: Kit, name: str, parent: str | None = None) -> str:
    path = f"/mailFolders/{parent}/childFolders" if parent else "/mailFolders"
    answer = kit.post(path, {"displayName": name})
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def names(kit: Kit, path: str, **rest) -> list[str]:
    return [f["displayName"] for f in kit.get(path, **rest).json["value"]]


@pytest.mark.parametrize("name", ["inbox", "INBOX", "SentItems", "drafts", "deletedItems", "junkemail", "archive",
                                  "outbox", "msgfolderroot", "recoverableitemsdeletions", "calendar"])  # fmt: skip
def test_well_known_names_in_any_case(name):
    assert Kit().get(f"/mailFolders/{name}").status == 200


def test_an_absent_well_known_folder_and_unknown_names():
    kit = Kit()
    assert kit.get("/mailFolders/clutter").code == "ErrorItemNotFound"
    assert kit.get("/mailFolders/NoSuchName").code == "ErrorInvalidIdMalformed"


def test_v1_lists_one_level_and_beta_the_tree_with_well_known_names():
    kit = Kit()
    child = made(kit, "Projects")
    made(kit, "2026", child)
    top = "/mailFolders?$top=100"
    assert "2026" not in names(kit, top)
    assert "Projects" in names(kit, top)
    beta = kit.get(top, version="beta").json["value"]
    assert "2026" in [f["displayName"] for f in beta]
    known = {f["displayName"]: f["wellKnownName"] for f in beta}
    assert (known["Inbox"], known["Projects"]) == ("inbox", None)
    assert "wellKnownName" not in kit.get("/mailFolders/inbox").json


def test_the_default_page_has_ten_folders():
    kit = Kit()
    for n in range(12):
        made(kit, f"F{n:02}")
    page = kit.get("/mailFolders")
    assert len(page.ids) == 10
    assert "@odata.nextLink" in page.json
    assert kit.get("/mailFolders?$top=100&$count=true").json["@odata.count"] > 12


def test_top_level_folders_have_the_long_id_of_the_root_as_parent():
    kit = Kit()
    root = kit.get("/mailFolders/msgfolderroot").json["id"]
    assert kit.get("/mailFolders/inbox").json["parentFolderId"] == root


def test_hidden_folders_show_on_request_and_hidden_is_set_at_creation_only():
    kit = Kit()
    secret = kit.post("/mailFolders", {"displayName": "Secret", "isHidden": True}).json
    assert secret["isHidden"] is True
    assert "Secret" not in names(kit, "/mailFolders?$top=100")
    assert "Secret" in names(kit, "/mailFolders?$top=100&includeHiddenFolders=true")
    assert kit.patch(f"/mailFolders/{secret['id']}", {"isHidden": False}).json["isHidden"] is True


def test_localised_display_names():
    assert Kit(language="de-DE").get("/mailFolders/inbox").json["displayName"] == "Posteingang"
    assert (
        Kit(language="de", off=("localized-names",)).get("/mailFolders/inbox").json["displayName"] == "Inbox"
    )


def test_create_trims_and_refuses_a_taken_name_in_any_case():
    kit = Kit()
    assert kit.post("/mailFolders", {"displayName": "  Work "}).json["displayName"] == "Work"
    answer = kit.post("/mailFolders", {"displayName": "WORK"})
    assert (answer.status, answer.code) == (409, "ErrorFolderExists")
    assert kit.post("/mailFolders/inbox/childFolders", {"displayName": "Work"}).status == 201


@pytest.mark.parametrize("body", [{}, {"displayName": ""}, {"displayName": "  "}, {"displayName": "x" * 256},
                                  {"displayName": 7}, {"displayName": "a", "nonsense": 1}])  # fmt: skip
def test_bad_folder_bodies_are_400(body):
    assert Kit().post("/mailFolders", body).status == 400


def test_slashes_are_legal_and_a_name_can_be_filtered():
    kit = Kit()
    made(kit, "a/b\\c")
    made(kit, "O'Brien")
    assert names(kit, "/mailFolders/msgfolderroot/childFolders?$filter=displayName eq 'o''brien'") == [
        "O'Brien"
    ]
    assert names(kit, "/mailFolders?$filter=startswith(displayName,'a/')") == ["a/b\\c"]


def test_rename_and_its_refusals():
    kit = Kit()
    one, _ = made(kit, "One"), made(kit, "Two")
    assert kit.patch(f"/mailFolders/{one}", {"displayName": "Three"}).json["displayName"] == "Three"
    assert kit.patch(f"/mailFolders/{one}", {"displayName": "two"}).status == 409
    assert kit.patch(f"/mailFolders/{one}", {"displayName": "THREE"}).status == 200
    assert kit.patch("/mailFolders/inbox", {"displayName": "In"}).status == 403


def test_move_keeps_the_id_and_refuses_clashes_and_loops():
    kit = Kit()
    one, two = made(kit, "One"), made(kit, "Two")
    moved = kit.post(f"/mailFolders/{one}/move", {"destinationId": two})
    assert (moved.status, moved.json["id"], moved.json["parentFolderId"]) == (200, one, two)
    made(kit, "One")
    assert kit.post(f"/mailFolders/{one}/move", {"destinationId": "msgfolderroot"}).status == 409
    assert kit.post(f"/mailFolders/{two}/move", {"destinationId": one}).status == 400
    assert kit.post("/mailFolders/inbox/move", {"destinationId": two}).status == 403


def test_copy_copies_contents_under_new_ids():
    kit = Kit()
    one = made(kit, "One")
    inner = made(kit, "Inner", one)
    message = kit.deliver(folder=inner)
    copied = kit.post(f"/mailFolders/{one}/copy", {"destinationId": "archive"})
    assert copied.status == 200
    twin = kit.get(f"/mailFolders/{copied.json['id']}/childFolders").json["value"][0]
    found = kit.get(f"/mailFolders/{twin['id']}/messages", {"prefer": 'IdType="ImmutableId"'}).ids
    assert len(found) == 1
    assert found[0] != message


def test_delete_moves_below_deleted_items_numbers_clashes_and_then_destroys():
    kit = Kit()
    for _ in range(3):
        name = made(kit, "Old")
        assert kit.delete(f"/mailFolders/{name}").status == 204
    assert names(kit, "/mailFolders/deleteditems/childFolders") == ["Old", "Old1", "Old2"]
    kit.deliver(folder=name)
    assert kit.delete(f"/mailFolders/{name}").status == 204
    assert kit.get(f"/mailFolders/{name}").status == 404


def test_special_folders_cannot_be_deleted():
    kit = Kit()
    for name in ("inbox", "drafts", "deleteditems", "archive"):
        answer = kit.delete(f"/mailFolders/{name}")
        assert (answer.status, answer.code) == (403, "ErrorDeleteDistinguishedFolder")
        assert kit.post(f"/mailFolders/{name}/permanentDelete").status == 403


def test_permanent_delete_takes_the_messages_with_it():
    kit = Kit()
    name = made(kit, "Gone")
    message = kit.deliver(folder=name)
    assert kit.post(f"/mailFolders/{name}/permanentDelete").status == 204
    assert kit.get(f"/messages/{message}").status == 404
    assert kit.get("/mailFolders/deleteditems/childFolders").json["value"] == []


def test_counts_follow_after_a_moment_and_include_what_is_no_mail():
    kit = Kit()
    message = kit.tenant.deliver(ALICE, "deleteditems", MAIL)
    assert kit.get("/mailFolders/deleteditems").json["totalItemCount"] == 2
    kit.settle()
    counted = kit.get("/mailFolders/deleteditems").json
    assert (counted["totalItemCount"], counted["unreadItemCount"]) == (3, 1)
    assert len(kit.get("/mailFolders/deleteditems/messages").ids) == 1
    kit.patch(f"/messages/{message}", {"isRead": True})
    kit.rules.set("counts-lag", False)
    kit.rules.set("counts-include-non-mail", False)
    counted = kit.get("/mailFolders/deleteditems").json
    assert (counted["totalItemCount"], counted["unreadItemCount"]) == (1, 0)


def test_counts_are_of_the_folder_alone():
    kit = Kit()
    kit.deliver(folder=made(kit, "Inner", "inbox"))
    inbox = kit.get("/mailFolders/inbox").json
    assert (inbox["totalItemCount"], inbox["childFolderCount"]) == (0, 1)


def test_folder_properties_by_expand():
    kit = Kit()
    kit.deliver()
    asked = (
        "id eq 'String 0x3613' or id eq 'Integer 0x6751' or id eq 'Long 0x0E08' or id eq 'SystemTime 0x670A'"
    )
    found = kit.get(f"/mailFolders/inbox?$expand=singleValueExtendedProperties($filter={asked})").json
    values = {p["id"]: p["value"] for p in found["singleValueExtendedProperties"]}
    assert values["String 0x3613"] == "IPF.Note"
    assert values["Integer 0x6751"] == "2"
    assert set(values) == {"String 0x3613", "Integer 0x6751", "Long 0xe08", "SystemTime 0x670a"}


def test_the_content_time_of_a_folder_moves_with_any_change_in_it():
    kit = Kit()
    name = kit.deliver()
    path = "/mailFolders/inbox?$expand=singleValueExtendedProperties($filter=id eq 'SystemTime 0x670A')"
    before = kit.get(path).json["singleValueExtendedProperties"]
    kit.settle()
    assert kit.get(path).json["singleValueExtendedProperties"] == before
    kit.patch(f"/messages/{name}", {"categories": ["x"]})
    assert kit.get(path).json["singleValueExtendedProperties"] != before


def test_outlook_can_make_siblings_of_one_name():
    kit = Kit()
    made(kit, "Twin")
    second = kit.tenant.outlook_folder(ALICE, "msgfolderroot", "Twin")
    assert names(kit, "/mailFolders?$filter=displayName eq 'Twin'") == ["Twin", "Twin"]
    assert kit.get(f"/mailFolders/{second}").json["displayName"] == "Twin"


def test_nested_paths_reach_the_innermost_folder():
    kit = Kit()
    one = made(kit, "One", "inbox")
    message = kit.deliver(folder=one)
    path = f"/mailFolders/inbox/childFolders/{one}"
    assert kit.get(path).json["displayName"] == "One"
    assert kit.get(f"{path}/messages", {"prefer": 'IdType="ImmutableId"'}).ids == [message]


def test_a_search_folder_shows_what_its_query_finds_and_takes_no_mail():
    kit = Kit()
    inbox = kit.get("/mailFolders/inbox").json["id"]
    kit.deliver()
    kit.deliver(MAIL.replace(b"Hello", b"Budget"))
    body = {
        "@odata.type": "microsoft.graph.mailSearchFolder", "displayName": "Money", "includeNestedFolders": True,
        "sourceFolderIds": [inbox], "filterQuery": "contains(subject, 'budget')",
    }  # fmt: skip
    answer = kit.post("/mailFolders/msgfolderroot/childFolders", body)
    assert (answer.status, answer.json["isSupported"]) == (201, True)
    name = answer.json["id"]
    assert [m["subject"] for m in kit.get(f"/mailFolders/{name}/messages").json["value"]] == ["Budget"]
    message = kit.get("/mailFolders/inbox/messages").ids[0]
    assert kit.post(f"/messages/{message}/move", {"destinationId": name}).status == 400
    assert kit.get(f"/mailFolders/{name}/messages/delta").status == 400


# -- mailFolders/delta -----------------------------------------------------------------------------


def test_folder_delta_lists_the_tree_then_changes_then_removals():
    kit = Kit()
    one = made(kit, "One")
    made(kit, "Inner", one)
    kit.settle()
    first = kit.delta("/mailFolders/delta")
    listed = {r["displayName"]: r["parentFolderId"] for r in first.rows}
    assert listed["Inner"] == one
    assert "Recoverable Items" not in listed
    assert kit.delta(first.link).rows == []
    kit.patch(f"/mailFolders/{one}", {"displayName": "Uno"})
    kit.settle()
    second = kit.delta(first.link)
    assert [r["displayName"] for r in second.rows] == ["Uno"]
    kit.post(f"/mailFolders/{one}/permanentDelete")
    third = kit.delta(second.link)
    assert one in third.removed
    assert all(r["@removed"] == {"reason": "deleted"} for r in third.rows if "@removed" in r)


def test_folder_delta_tells_of_counts_even_while_they_lag():
    kit = Kit()
    first = kit.delta("/mailFolders/delta")
    kit.tenant.deliver(ALICE, "inbox", MAIL)
    early = kit.delta(first.link)
    kit.settle()
    late = kit.delta(early.link)
    assert [(r["displayName"], r["totalItemCount"]) for r in late.rows] == [("Inbox", 1)]


def test_folder_delta_pages_by_ten():
    kit = Kit()
    for n in range(10):
        made(kit, f"F{n}")
    page = kit.get("/mailFolders/delta")
    assert (len(page.ids), "@odata.nextLink" in page.json) == (10, True)
