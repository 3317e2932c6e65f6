"""The emulator held against the contract by a reader who did not write it: what its other tests leave open.

Named after the contract's section. Traps of section 15: `test_emulator_traps.py`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from hashlib import sha256

import httpx
import pytest

from gateway.emulator.api import Response
from gateway.emulator.serve import EmulatorOptions, EmulatorThread, RunningEmulator, start
from tests.emulator_kit import ALICE, BOB, CAROL, DELEGATED, IMMUTABLE, MAIL, START, Kit
from tests.shell_support import staged


def app_token(running: RunningEmulator) -> str:
    """An app-only bearer token."""
    form = {
        "grant_type": "client_credentials",
        "client_id": "demo-gateway",
        "client_secret": "demo-secret",
        "scope": "https://graph.microsoft.com/.default",
    }
    context = ssl.create_default_context(cafile=running.ca_file)
    answer = httpx.post(f"{running.authority}/oauth2/v2.0/token", data=form, verify=context)
    return str(answer.json()["access_token"])


# -- 3: batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [
    b'{"requests":[{"id":"1","method":"GET","url":"/me","headers":[1]}]}',
    b'{"requests":[{"id":"1","method":"GET","url":"/me","headers":"x"}]}',
    b'{"requests":[{"id":"1","method":"GET","url":"/me","dependsOn":{"a":1}}]}',
    b'{"requests":{"id":"1"}}',
    b"[" * 100_000,
    b"\xff\xfe",
    b"",
])  # fmt: skip
async def test_3_no_batch_body_breaks_the_server(body):
    async with staged() as s:
        headers = {**s.bearer, "Content-Type": "application/json"}
        answer = await s.http.post("/v1.0/$batch", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")


async def test_3_a_batch_is_json_and_says_so():
    async with staged() as s:
        body = json.dumps({"requests": [{"id": "1", "method": "GET", "url": "/me"}]}).encode()
        assert (await s.http.post("/v1.0/$batch", content=body, headers=s.bearer)).status_code == 400
        text = {**s.bearer, "Content-Type": "text/plain"}
        assert (await s.http.post("/v1.0/$batch", content=body, headers=text)).status_code == 415


# -- control API -----------------------------------------------------------------------------------


async def test_the_log_has_exactly_the_promised_keys():
    async with staged() as s:
        await s.batch({"id": "1", "method": "GET", "url": "/me"})
        log = (await s.control("GET", "log")).json()
        assert set(log) == {"requests", "max_in_flight"}
        (entry,) = log["requests"]
        assert set(entry) == {
            "t", "method", "path", "status", "bytes_in", "bytes_out", "in_flight", "inner"
        }  # fmt: skip
        assert entry["inner"] == [{"method": "GET", "url": "/me", "status": 200}]


# -- latency ---------------------------------------------------------------------------------------


async def test_every_http_request_travels_refused_ones_and_sign_in_too():
    async with staged() as s:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(round(seconds, 6))

        s.running.app._latency._sleep = sleep
        await s.control("POST", "limits", {"rtt_ms": 40})
        assert (await s.http.get("/v1.0/me")).status_code == 401
        assert waits == [0.04]
        await s.sign_in()
        assert waits == [0.04, 0.04]


# -- 2: answers ------------------------------------------------------------------------------------


async def test_2_json_is_chunked_as_it_usually_is():
    async with staged() as s:
        for answer in (await s.get("/v1.0/me"), await s.http.get("/v1.0/me")):
            assert "content-length" not in answer.headers
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.json()


async def test_2_error_envelopes_come_in_three_dresses_with_one_code():
    async with staged() as s:
        shapes = set()
        for n in range(12):
            answer = await s.http.get("/v1.0/me", headers={"client-request-id": f"trace-{n}"})
            error = answer.json()["error"]
            assert error["code"] == "InvalidAuthenticationToken"
            inner = error.get("innerError") or error.get("innererror")
            shapes.add(next((k for k in error if k.lower() == "innererror"), ""))
            if inner:
                assert inner["request-id"] == answer.headers["request-id"]
                assert inner["client-request-id"] == f"trace-{n}"
                assert inner["date"]
        assert shapes == {"", "innerError", "innererror"}
        await s.control("POST", "rules", {"error-envelope-varies": False})
        for _ in range(6):
            assert set((await s.http.get("/v1.0/me")).json()["error"]) == {"code", "message"}


# -- 3: limits -------------------------------------------------------------------------------------


async def test_3_a_user_named_with_its_tenant_is_the_same_mailbox_to_the_throttle():
    async with staged() as s:
        await s.control("POST", "limits", {"requests_per_10min": 2})
        alice = s.running.app._calls.names
        guid = next(k for k, v in alice.items() if v == "alice@example.com" and "@" not in k)
        names = ["alice@example.com", guid, f"{guid}@{s.running.describe()['tenant_id']}"]
        answers = [(await s.get(f"/v1.0/users/{name}")).status_code for name in names]
        assert answers == [200, 200, 429]


async def test_3_a_user_added_later_has_limits_of_its_own():
    running = await start(EmulatorOptions(port=0, http=True, messages=0, users=1))
    try:
        for name in ("new@example.com", "newer@example.com"):
            running.tenant.add_user(name)
        assert running.app._calls.names["new@example.com"] != running.app._calls.names["newer@example.com"]
    finally:
        await running.stop()


# -- 8: slow answers -------------------------------------------------------------------------------


async def test_8_a_value_can_be_made_to_drip():
    async with staged() as s:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        s.running.app._latency._sleep = sleep
        s.model.answers["/v"] = lambda r: Response(
            200, iter([b"a", b"b", b"c"]), {"Content-Type": "text/plain"}
        )
        await s.control("POST", "limits", {"drip_ms": 250})
        assert (await s.get("/v1.0/v", **{"accept-encoding": "identity"})).content == b"abc"
        assert waits == [0.25, 0.25, 0.25]


async def test_2_a_fault_with_a_body_of_its_own_is_sent_as_it_is():
    async with staged() as s:
        for body in ('{"error":"plain"}', '{"error":[1]}', "[1]", "<html>", '{"error":{"message":"m"}}'):
            await s.control("POST", "faults", {"status": 503, "body": body, "count": 3})
            texts = {(await s.get("/v1.0/me")).text for _ in range(3)}
            assert body in texts and (len(texts) == 1 or "message" in body)


# -- 2, 6.3: requests that never reach Exchange ----------------------------------------------------


async def test_63_an_url_over_eight_kilobytes_is_refused_also_inside_a_batch():
    async with staged() as s:
        long = f"/me/messages?$filter=subject eq '{'a' * 8200}'"
        assert (await s.get(f"/v1.0{long}")).status_code == 414
        batch = await s.batch({"id": "1", "method": "GET", "url": long})
        assert [r["status"] for r in batch.json()["responses"]] == [414]
        await s.control("POST", "limits", {"url_bytes": 100_000})
        assert (await s.get(f"/v1.0{long}")).status_code == 200


async def test_102_a_post_without_a_length_is_411():
    async with staged() as s:
        reader, writer = await asyncio.open_connection("127.0.0.1", s.running.port)
        for length, status in ((b"", b"411"), (b"Content-Length: 0\r\n", b"200")):
            head = b"POST /v1.0/me/messages/x/send HTTP/1.1\r\nHost: 127.0.0.1\r\n" + length
            writer.write(head + b"Authorization: Bearer %b\r\n\r\n" % s.token.encode())
            assert (await reader.readuntil(b"\r\n")).split()[1] == status
            await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()


# -- 3: upload sessions spend the mailbox's upload budget ------------------------------------------


def test_3_uploaded_chunks_count_as_upload_bytes():
    options = EmulatorOptions(port=0, http=True, messages=0)
    with EmulatorThread(options) as running, httpx.Client(base_url=running.base_url) as http:
        bearer = {"Authorization": f"Bearer {app_token(running)}"}
        user = "/v1.0/users/alice@example.com"
        http.post(f"{running.control_url}/rules", json={"create-then-404": False})
        draft = http.post(f"{user}/messages", json={"subject": "s"}, headers=bearer).json()["id"]
        size = 3 * 1024 * 1024
        item = {"AttachmentItem": {"attachmentType": "file", "name": "x", "size": size}}
        path = f"{user}/messages/{draft}/attachments/createUploadSession"
        url = http.post(path, json=item, headers=bearer).json()["uploadUrl"]
        http.post(f"{running.control_url}/limits", json={"upload_bytes_per_5min": 2 * 1024 * 1024})
        half = size // 2
        answers = []
        for start in (0, half):
            spread = {"Content-Range": f"bytes {start}-{start + half - 1}/{size}"}
            answers.append(http.put(url, content=bytes(half), headers=spread).status_code)
        assert answers == [200, 429]
        listed = http.post(f"{user}/messages", json={"subject": "s"}, headers=bearer)
        assert listed.status_code == 429


# -- 4, 5: lists -----------------------------------------------------------------------------------


def test_4_skip_counts_what_is_no_message():
    kit = Kit()
    for n in range(12):
        kit.deliver(MAIL, "deleteditems", received=START - n)
    first = kit.get("/mailFolders/deleteditems/messages?$select=id", IMMUTABLE)
    link = first.json["@odata.nextLink"]
    assert "$skip=12" in link and len(first.ids) == 10
    rest = kit.get(link, IMMUTABLE)
    assert len(rest.ids) == 2 and not set(rest.ids) & set(first.ids)
    assert "@odata.nextLink" not in rest.json
    own = kit.get("/mailFolders/deleteditems/messages?$select=id&$skip=10", IMMUTABLE).ids
    assert own == first.ids[-2:] + rest.ids  # a client that counts for itself overlaps
    kit.rules.set("skip-counts-non-mail", False)
    first = kit.get("/mailFolders/deleteditems/messages?$select=id", IMMUTABLE)
    assert "$skip=10" in first.json["@odata.nextLink"]


def test_5_well_known_names_can_be_filtered_in_beta_only():
    kit = Kit()
    path = "/mailFolders?$filter=wellKnownName eq 'inbox'"
    assert kit.get(path).status == 400
    assert [f["displayName"] for f in kit.get(path, version="beta").json["value"]] == ["Inbox"]


# -- 6: messages -----------------------------------------------------------------------------------

FLAGS_PROPERTY = "$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E07')"


def test_61_expanded_properties_are_not_in_answers_to_writes():
    kit = Kit()
    name = kit.deliver()
    assert "singleValueExtendedProperties" in kit.get(f"/messages/{name}?{FLAGS_PROPERTY}").json
    patched = kit.patch(f"/messages/{name}?{FLAGS_PROPERTY}", {"isRead": True})
    assert patched.status == 200 and "singleValueExtendedProperties" not in patched.json
    made = kit.post(f"/messages?{FLAGS_PROPERTY}", {"subject": "s"})
    assert made.status == 201 and "singleValueExtendedProperties" not in made.json


def test_61_a_plain_message_has_a_type_in_delta_and_move_alone():
    kit = Kit()
    name = kit.deliver()
    assert "@odata.type" not in kit.get(f"/messages/{name}").json
    assert "@odata.type" not in kit.get("/messages").json["value"][0]
    moved = kit.post(f"/messages/{name}/move", {"destinationId": "archive"}, IMMUTABLE).json
    assert moved["@odata.type"] == "#microsoft.graph.message"
    assert kit.delta("/mailFolders/archive/messages/delta").rows[0]["@odata.type"] == moved["@odata.type"]


def test_b_expanded_properties_have_their_context():
    kit = Kit()
    shown = kit.get(f"/messages/{kit.deliver()}?{FLAGS_PROPERTY}").json
    assert shown["singleValueExtendedProperties@odata.context"].endswith("/singleValueExtendedProperties")


# -- 7: the second report on moves under immutable ids ---------------------------------------------


def test_7_a_move_may_show_as_a_removal_alone():
    kit = Kit(off=("delta-replays",))
    assert not kit.rules.on("immutable-move-unseen")
    kit.rules.set("immutable-move-unseen", True)
    name = kit.deliver()
    inbox, archive = kit.delta(), kit.delta("/mailFolders/archive/messages/delta")
    kit.post(f"/messages/{name}/move", {"destinationId": "archive"}, IMMUTABLE)
    kit.settle()
    assert kit.delta(inbox.link).removed == [name]
    after = kit.delta(archive.link)
    assert (after.added, after.removed) == ([], [])
    assert name in kit.get("/mailFolders/archive/messages?$select=id", IMMUTABLE).ids
    kit.patch(f"/messages/{name}", {"isRead": True})
    kit.settle()
    assert kit.delta(after.link).added == [name]  # its next change


# -- 10: sending -----------------------------------------------------------------------------------


def test_13_a_delegated_token_sends_as_others_with_the_shared_scope_only():
    kit = Kit()
    kit.tenant.rights.send_as[BOB] = {ALICE}
    mail = {"message": {"subject": "s", "from": {"emailAddress": {"address": BOB}},
            "toRecipients": [{"emailAddress": {"address": CAROL}}]}}  # fmt: skip
    answer = kit.post("/me/sendMail", mail, user=ALICE)
    assert (answer.status, answer.code) == (403, "ErrorAccessDenied")
    shared = DELEGATED | {"Mail.Send.Shared"}
    assert kit.post("/me/sendMail", mail, user=ALICE, scopes=shared).status == 202


def test_104_a_chunk_is_less_than_four_megabytes():
    kit = Kit()
    name = kit.draft()
    size = 8 * 1024 * 1024
    item = {"AttachmentItem": {"attachmentType": "file", "name": "x", "size": size}}
    url = kit.post(f"/messages/{name}/attachments/createUploadSession", item).json["uploadUrl"]
    token = url.rsplit("/", 1)[1]
    for length, status in ((4 * 1024 * 1024, 413), (4 * 1024 * 1024 - 1, 200)):
        span = {"content-range": f"bytes 0-{length - 1}/{size}"}
        assert kit.tenant.upload("PUT", token, span, bytes(length)).status == status


# -- 15, trap 51 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("cleared", "sent"), [
    ((), 1), (("0x0029",), 1), (("0x0C06",), 1), (("0x0029", "0x0C06"), 0),
])  # fmt: skip
def test_15_a_receipt_is_held_back_by_clearing_both_requests_in_the_same_patch(cleared, sent):
    kit = Kit()
    asking = b"Disposition-Notification-To: bob@example.com\r\n" + MAIL.replace(
        b"dora@example.net", b"bob@example.com"
    )
    props = [{"id": f"Boolean {tag}", "value": "false"} for tag in cleared]
    kit.patch(f"/messages/{kit.deliver(asking)}", {"isRead": True, "singleValueExtendedProperties": props})
    assert len(kit.tenant.listing(BOB, "inbox")) == sent


def test_the_listing_has_what_the_control_api_promises():
    kit = Kit()
    name = kit.deliver()
    (shown,) = kit.tenant.listing(ALICE, "inbox")
    assert (shown["id"], shown["length"], shown["sha256"]) == (name, len(MAIL), sha256(MAIL).hexdigest())
    assert {"isRead", "isDraft", "flag", "deleted", "verb", "categories"} <= shown.keys()
