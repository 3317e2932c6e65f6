"""Users, scopes, settings, and what the shell needs of the model (contract sections 1, 14; `api.Model`)."""

import hashlib
import json
import time

import pytest
from emulator_kit import ALICE, APP, BOB, DELEGATED, MAIL, Kit
from hypothesis import given, settings
from hypothesis import strategies as st

SHARED = DELEGATED | {"Mail.ReadWrite.Shared", "Mail.Send.Shared"}


# -- who -------------------------------------------------------------------------------------------


def test_me_needs_a_user():
    kit = Kit()
    answer = kit.get("/me/messages")
    assert (answer.status, answer.code) == (400, "BadRequest")
    assert kit.get("/me/messages", user=ALICE).status == 200


def test_a_user_by_name_guid_or_guid_at_tenant():
    kit = Kit()
    user = kit.get("/users/Alice@Example.com", scopes=APP).json
    assert user["userPrincipalName"] == ALICE
    assert kit.get(f"/users/{user['id']}/messages").status == 200
    from gateway.emulator.ids import TENANT_GUID

    assert kit.get(f"/users/{user['id']}@{TENANT_GUID}/messages").status == 200
    assert kit.get("/me?$select=mail", user=ALICE).json["mail"] == ALICE


def test_an_unknown_user_is_404():
    answer = Kit().get("/users/nobody@example.com/messages")
    assert (answer.status, answer.code) == (404, "Request_ResourceNotFound")


def test_another_mailbox_needs_a_shared_scope_and_a_right():
    kit = Kit()
    path = f"/users/{BOB}/messages"
    assert kit.get(path, user=ALICE, scopes=SHARED).code == "ErrorAccessDenied"
    kit.tenant.rights.full_access[BOB] = {ALICE}
    assert kit.get(path, user=ALICE, scopes=DELEGATED).code == "ErrorAccessDenied"
    assert kit.get(path, user=ALICE, scopes=SHARED).status == 200


def test_app_only_reaches_any_mailbox():
    kit = Kit()
    assert kit.get(f"/users/{BOB}/messages").status == 200
    assert kit.get(f"/users/{BOB}/messages", scopes=frozenset()).code == "ErrorAccessDenied"


def test_basic_reading_shows_no_content():
    kit = Kit()
    name = kit.deliver()
    basic = frozenset({"Mail.ReadBasic.All"})
    message = kit.get(f"/messages/{name}", scopes=basic).json
    assert message["subject"] == "Hello"
    assert not {"body", "bodyPreview"} & message.keys()
    assert kit.get(f"/messages/{name}/$value", scopes=basic).status == 403
    expand = "$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E07')"
    assert kit.get(f"/messages?{expand}", scopes=basic).status == 403
    assert kit.get(f"/messages/{name}/attachments", scopes=basic).status == 403


# -- settings --------------------------------------------------------------------------------------


def test_master_categories():
    kit = Kit()
    path = "/outlook/masterCategories"
    made = kit.post(path, {"displayName": "Red", "color": "preset0"})
    assert made.status == 201
    assert kit.post(path, {"displayName": "RED"}).status == 409
    assert kit.post(path, {"displayName": "x", "color": "red"}).status == 400
    key = made.json["id"]
    assert kit.patch(f"{path}/{key}", {"color": "preset9"}).json["color"] == "preset9"
    assert kit.patch(f"{path}/{key}", {"displayName": "x"}).status == 400
    assert [c["displayName"] for c in kit.get(path).json["value"]] == ["Red"]
    assert kit.delete(f"{path}/{key}").status == 204
    assert kit.get(f"{path}/{key}").status == 404


def test_settings_are_truthful_and_the_rest_says_501():
    kit = Kit()
    assert kit.get("/mailboxSettings").json["timeZone"] == "UTC"
    assert kit.call("GET", "/inferenceClassification/overrides", {}).status == 501


# -- the model -------------------------------------------------------------------------------------


def test_the_tenant_is_a_model():
    from gateway.emulator.api import Model

    model: Model = Kit().tenant
    assert model.users() == [ALICE, BOB, "carol@example.com"]


def test_deliver_dates_and_lists():
    kit = Kit()
    name = kit.tenant.deliver(ALICE, "inbox", MAIL, received=1_000_000_000.5)
    (listed,) = kit.tenant.listing(ALICE, "inbox")
    assert listed == {
        "id": name, "folder": kit.get("/mailFolders/inbox").json["id"], "folderName": "Inbox", "wellKnownName": "inbox",
        "subject": "Hello", "internetMessageId": "<one@example.net>", "isRead": False, "isDraft": False,
        "flag": "notFlagged", "categories": [], "deleted": None, "verb": None,
        "receivedDateTime": "2001-09-09T01:46:40Z", "sha256": hashlib.sha256(MAIL).hexdigest(),
        "length": len(MAIL), "size": len(MAIL),
    }  # fmt: skip


def test_outlook_patches_moves_and_deletes():
    kit = Kit()
    name = kit.deliver()
    tenant = kit.tenant
    tenant.outlook_patch(
        ALICE, name, {"isRead": True, "flag": {"flagStatus": "complete"}, "categories": ["Q"]}
    )
    listed = tenant.listing(ALICE, None)[0]
    assert (listed["isRead"], listed["flag"], listed["categories"]) == (True, "complete", ["Q"])
    tenant.outlook_move(ALICE, name, "archive")
    assert tenant.listing(ALICE, "archive")[0]["id"] == name
    tenant.outlook_delete(ALICE, name)
    assert tenant.listing(ALICE, "deleteditems")[0]["id"] == name
    tenant.outlook_delete(ALICE, name)
    assert tenant.listing(ALICE, "recoverableitemsdeletions")[0]["id"] == name


@pytest.mark.parametrize(("call", "error"), [
    (lambda t: t.deliver("nobody@example.com", "inbox", MAIL), LookupError),
    (lambda t: t.deliver(ALICE, "clutter", MAIL), LookupError),
    (lambda t: t.listing(ALICE, "junk"), ValueError),
    (lambda t: t.outlook_delete(ALICE, t.box(ALICE).mint.immutable(9)), LookupError),
    (lambda t: t.outlook_patch(ALICE, t.deliver(ALICE, "inbox", MAIL), {"nonsense": 1}), ValueError),
    (lambda t: t.outlook_patch(ALICE, t.deliver(ALICE, "inbox", MAIL), {"isRead": 1}), ValueError),
])  # fmt: skip
def test_control_calls_fail_by_name(call, error):
    with pytest.raises(error):
        call(Kit().tenant)


def test_outlook_folders():
    kit = Kit()
    kit.deliver()
    found = {f["wellKnownName"]: f for f in kit.tenant.outlook_folders(ALICE)}
    assert (found["inbox"]["totalItemCount"], found["inbox"]["unreadItemCount"]) == (1, 1)
    assert found["msgfolderroot"]["parentFolderId"] == found["root"]["id"]


def test_twenty_thousand_messages_cost_little_to_hold_and_to_ask():
    kit = Kit()
    for n in range(20_000):
        kit.tenant.deliver_variant(ALICE, "inbox", MAIL, n + 1, 1_600_000_000 + n)
    kit.settle()
    headers = {"prefer": 'IdType="ImmutableId", odata.maxpagesize=500'}
    first = kit.delta(headers=headers)
    assert len(set(first.added)) == 20_000

    def cost(path: str) -> float:
        best = 1.0
        for _ in range(3):
            start = time.process_time()
            assert kit.get(path, headers).status == 200
            best = min(best, time.process_time() - start)
        return best

    kit.patch(f"/messages/{first.added[0]}", {"isRead": True})
    kit.settle()
    page = cost("/mailFolders/inbox/messages?$select=id,isRead,subject&$skip=15000")
    assert cost(first.link) < page
    assert page < 0.25


METHODS = st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT"])
PIECES = st.sampled_from(
    ["me", "users", ALICE, "messages", "mailFolders", "inbox", "delta", "$value", "$count", "attachments", "move",
     "childFolders", "send", "sendMail", "extensions", "x", "", "'", "('inbox')", "%00", "outlook", "masterCategories",
     "createUploadSession", "reply", "createForward", "copy", "messageRules", "translateExchangeIds", "(",
     "subscriptions"]
)  # fmt: skip
QUERIES = st.dictionaries(
    st.sampled_from(["$select", "$expand", "$filter", "$orderby", "$top", "$skip", "$search", "$skiptoken",
                     "$deltatoken", "$count", "changeType"]),
    st.sampled_from(["", "id", "subject", "isRead eq true", "extensions", "attachments",
                     "singleValueExtendedProperties($filter=id eq 'Integer 0x0E08')", "0", "5", "true", '"x"', "(",
                     "receivedDateTime desc", "receivedDateTime ge 2020-01-01T00:00:00Z", "s3", "'"]), max_size=3
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["subject", "body", "toRecipients", "emailAddress", "flag", "isRead", "categories", "message",
                         "singleValueExtendedProperties", "id", "value", "attachments", "destinationId", "displayName",
                         "AttachmentItem", "size", "name", "extensionName", "@odata.type", "comment", "inputIds",
                         "internetMessageHeaders", "from", "sequence", "actions", "conditions", "contentType"]),
        inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(METHODS, st.lists(PIECES, max_size=6), QUERIES, VALUES | st.binary(max_size=20), st.integers(0, 3))
def test_no_request_raises(method, pieces, query, body, kind):
    kit = Kit(off=("create-then-404",))
    name = kit.tenant.deliver(ALICE, "inbox", MAIL)
    from gateway.emulator.api import Caller, Request

    path = "/" + "/".join(
        [["me", "users/" + ALICE], ["me", "messages/" + name], [], ["me", "messages"]][kind] + pieces
    )
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "text/plain" if isinstance(body, bytes) else "application/json"}
    caller = Caller("app", ALICE, DELEGATED)
    answer = kit.tenant.handle(Request(method, "v1.0", path, query, headers, data, caller, "https://x/v1.0"))
    assert 200 <= answer.status < 600
    if answer.status >= 400:
        assert isinstance(answer.body, bytes)
        assert json.loads(answer.body)["error"]["code"]
