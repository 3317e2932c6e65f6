"""Both id formats, folder, conversation and attachment ids, change keys (contract sections 6.1 and 7)."""

import base64

import pytest
from emulator_kit import ALICE, BOB, IMMUTABLE, Kit
from hypothesis import given
from hypothesis import strategies as st

from gateway.emulator.ids import IdMint, MalformedIdError, MessageRef, mailbox_guid

MINT = IdMint(mailbox_guid(ALICE))
NUMBERS = st.integers(1, (1 << 30) - 1)


def test_lengths_and_heads_are_those_of_published_ids():
    assert len(MINT.message(3, 9)) == 152
    assert MINT.message(3, 9).startswith("AAMkAD" if MINT.guid[0] in "0123" else "AAMkA")
    assert len(MINT.immutable(9)) == 68
    assert MINT.immutable(9).startswith("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A")
    assert len(MINT.folder(3)) == 120
    conversation = MINT.conversation(bytes(16))
    assert (len(conversation), conversation[:4]) == (80, "AAQk")


def test_a_change_key_is_thirty_bytes_of_standard_base64():
    key = MINT.change_key(77)
    assert len(key) == 40
    raw = base64.b64decode(key)
    assert len(raw) == 30
    assert raw[:8] == b"\x09\0\0\0\x16\0\0\0"


@given(NUMBERS, NUMBERS)
def test_reading_an_id_gives_what_it_was_made_of(folder, serial):
    assert MINT.read_message(MINT.message(folder, serial)) == MessageRef(False, serial, folder)
    assert MINT.read_message(MINT.immutable(serial)) == MessageRef(True, serial)
    assert MINT.read_folder(MINT.folder(folder)) == folder


@given(st.text(max_size=200))
def test_any_text_is_an_id_of_this_box_or_refused_as_one_of_two_things(text):
    try:
        assert MINT.read_message(text) is None
    except MalformedIdError:
        pass


@given(NUMBERS, st.integers(0, 67))
def test_folding_the_case_of_one_character_never_names_the_same_message(number, at):
    name = MINT.immutable(number)
    folded = name[:at] + name[at].swapcase() + name[at + 1 :]
    if folded != name:
        try:
            assert MINT.read_message(folded) != MessageRef(True, number)
        except MalformedIdError:
            pass


def test_an_id_of_another_mailbox_is_well_formed_and_unknown():
    other = IdMint(mailbox_guid(BOB))
    assert MINT.read_message(other.immutable(1)) is None
    assert MINT.read_message(other.message(3, 1)) is None
    assert MINT.read_folder(other.folder(1)) is None


def test_malformed_is_400_and_unknown_is_404():
    kit = Kit()
    for text in ("nonsense", "AAMk", "AAkALgAA%2B%2B", "x" * 152):
        answer = kit.get(f"/messages/{text}")
        assert (answer.status, answer.code) == (400, "ErrorInvalidIdMalformed")
    answer = kit.get("/messages/" + kit.tenant.box(ALICE).mint.immutable(999))
    assert (answer.status, answer.code) == (404, "ErrorItemNotFound")


def test_every_call_takes_either_format_and_answers_in_the_preferred_one():
    kit = Kit()
    immutable = kit.deliver()
    regular = kit.get(f"/messages/{immutable}").json["id"]
    assert len(regular) == 152
    assert kit.get(f"/messages/{regular}", IMMUTABLE).json["id"] == immutable
    assert kit.get("/mailFolders/inbox/messages").ids == [regular]
    assert kit.get("/mailFolders/inbox/messages", IMMUTABLE).ids == [immutable]


def test_a_regular_id_changes_on_every_move_and_the_old_one_dies():
    kit = Kit()
    immutable = kit.deliver()
    seen = set()
    for folder in ("archive", "inbox", "inbox", "archive"):
        regular = kit.get(f"/messages/{immutable}").json["id"]
        seen.add(regular)
        moved = kit.post(f"/messages/{regular}/move", {"destinationId": folder})
        assert moved.status == 201
        assert kit.get(f"/messages/{regular}").code == "ErrorItemNotFound"
    assert len(seen) == 4
    assert kit.get(f"/messages/{immutable}").status == 200


def test_without_id_churn_a_regular_id_survives_a_move():
    kit = Kit(off=("id-churn",))
    immutable = kit.deliver()
    regular = kit.get(f"/messages/{immutable}").json["id"]
    kit.post(f"/messages/{regular}/move", {"destinationId": "archive"})
    assert kit.get(f"/messages/{regular}").status == 200


def test_folder_ids_stay_regular_and_the_same():
    kit = Kit()
    assert kit.get("/mailFolders/inbox").json["id"] == kit.get("/mailFolders/inbox", IMMUTABLE).json["id"]


def test_ids_differ_by_case_unless_that_rule_is_off():
    kit = Kit()
    name = kit.deliver()
    assert kit.get(f"/messages/{name.swapcase()}").status in (400, 404)
    kit.rules.set("id-case-sensitive", False)
    assert kit.get(f"/messages/{name.swapcase()}").status == 200


def test_a_message_id_is_no_folder_id():
    kit = Kit()
    name = kit.get("/mailFolders/inbox").json["id"]
    assert kit.get(f"/messages/{name}").status == 404
    assert kit.get(f"/mailFolders/{kit.deliver()}").status == 400


def test_translate_ids_both_ways():
    kit = Kit()
    immutable = kit.deliver()
    regular = kit.get(f"/messages/{immutable}").json["id"]
    body = {"inputIds": [regular, "junk"], "sourceIdType": "restId", "targetIdType": "restImmutableEntryId"}
    found = kit.post("/translateExchangeIds", body).json["value"]
    assert found[0] == {"sourceId": regular, "targetId": immutable}
    assert "targetId" not in found[1]
    assert found[1]["errorDetails"]["code"]
    back = {"inputIds": [immutable], "sourceIdType": "restImmutableEntryId", "targetIdType": "restId"}
    assert kit.post("/translateExchangeIds", back).json["value"][0]["targetId"] == regular


@pytest.mark.parametrize(
    "body",
    [
        {"inputIds": "x", "sourceIdType": "restId", "targetIdType": "restId"},
        {"inputIds": [], "sourceIdType": "wrong", "targetIdType": "restId"},
        {"inputIds": ["a"] * 1001, "sourceIdType": "restId", "targetIdType": "restId"},
    ],
)
def test_translate_ids_refuses(body):
    assert Kit().post("/translateExchangeIds", body).status == 400
