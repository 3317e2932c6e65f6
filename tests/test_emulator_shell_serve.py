"""Starting the emulator for real: TLS, the ready file, a thread, a process; and what is in the mailboxes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from shell_support import staged

from gateway.emulator import corpus, seed, serve
from gateway.emulator.serve import EmulatorOptions, EmulatorThread
from gateway.emulator.tenant import Tenant
from gateway.emulator.tls import make_certificates


def filled(messages: int, seed_number: int = 1) -> Tenant:
    options = EmulatorOptions(messages=messages, seed=seed_number)
    tenant = Tenant(serve.make_world(options), serve.user_names(3))
    seed.fill(tenant, messages, seed_number)
    return tenant


def token(running: serve.RunningEmulator, client: httpx.Client) -> dict[str, str]:
    form = {
        "grant_type": "client_credentials",
        "client_id": serve.CLIENT_ID,
        "client_secret": serve.CLIENT_SECRET,
        "scope": "https://graph.microsoft.com/.default",
    }
    answer = client.post(f"{running.authority}/oauth2/v2.0/token", data=form)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def trusting(running: serve.RunningEmulator) -> httpx.Client:
    return httpx.Client(
        base_url=running.base_url, verify=ssl.create_default_context(cafile=running.ca_file), timeout=20
    )


def test_a_thread_serves_real_mail_over_tls(tmp_path: Path):
    options = EmulatorOptions(
        port=0, messages=5, users=5, state_dir=tmp_path, ready_file=tmp_path / "ready.json"
    )
    with EmulatorThread(options) as running:
        assert running.base_url == f"https://127.0.0.1:{running.port}"
        assert json.loads((tmp_path / "ready.json").read_text()) == running.describe()
        with trusting(running) as client:
            headers = token(running, client)
            page = client.get("/v1.0/users/alice@example.com/mailFolders/inbox/messages", headers=headers)
            assert page.status_code == 200 and len(page.json()["value"]) == 5
            first = page.json()["value"][0]["id"]
            value = client.get(f"/v1.0/users/alice@example.com/messages/{first}/$value", headers=headers)
            assert value.headers["content-type"].startswith("text/plain") and b"\r\n" in value.content
            rows = client.get("/_emulator/users/alice@example.com/messages?folder=inbox").json()
            assert {len(value.content)} <= {r["size"] for r in rows}
            assert client.get("/_emulator/users").json()["users"][3:] == [
                "user4@example.com",
                "user5@example.com",
            ]
            put = client.post(
                "/_emulator/users/bob@example.com/messages?folder=inbox", content=b"Subject: x\r\n\r\ny\r\n"
            )
            assert put.json()["id"]
            folder = client.post(
                "/_emulator/users/bob@example.com/messages?folder=nowhere", content=b"a: b\r\n\r\n"
            )
            assert folder.status_code == 404
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{running.base_url}/_emulator/log", verify=False)


def test_a_delegated_token_opens_its_own_mailbox_only():
    with (
        EmulatorThread(EmulatorOptions(port=0, http=True, messages=3)) as running,
        trusting(running) as client,
    ):
        form = {"grant_type": "password", "client_id": serve.PUBLIC_CLIENT_ID, "scope": "Mail.Read User.Read"}
        answer = client.post(
            f"{running.authority}/oauth2/v2.0/token",
            data={**form, "username": "bob@example.com", "password": "demo"},
        )
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert client.get("/v1.0/me", headers=headers).json()["userPrincipalName"] == "bob@example.com"
        mail = client.get("/v1.0/me/messages", headers=headers).json()["value"]
        assert len(mail) == 3
        other = client.get("/v1.0/users/alice@example.com/messages", headers=headers)
        assert (other.status_code, other.json()["error"]["code"]) == (403, "ErrorAccessDenied")
        change = client.patch(f"/v1.0/me/messages/{mail[0]['id']}", json={"isRead": True}, headers=headers)
        assert change.status_code == 403


def test_mail_to_nobody_here_is_kept_outside():
    with (
        EmulatorThread(EmulatorOptions(port=0, http=True, messages=0)) as running,
        trusting(running) as client,
    ):
        mime = b"From: alice@example.com\r\nTo: bob@example.com, zoe@example.net\r\nSubject: hi\r\n\r\nHi\r\n"
        sent = client.post(
            "/v1.0/users/alice@example.com/sendMail",
            content=base64.b64encode(mime),
            headers=token(running, client) | {"Content-Type": "text/plain"},
        )
        assert sent.status_code == 202
        [outside] = client.get("/_emulator/outside").json()
        assert outside["recipient"] == "zoe@example.net" and "Subject: hi" in outside["mime"]
        assert len(client.get("/_emulator/users/bob@example.com/messages?folder=inbox").json()) == 1


def test_plain_http_still_signs_in_over_tls(tmp_path: Path):
    with EmulatorThread(EmulatorOptions(port=0, http=True, messages=1, state_dir=tmp_path)) as running:
        assert running.base_url.startswith("http://") and running.authority.startswith("https://")
        with trusting(running) as client:
            me = client.get("/v1.0/users/alice@example.com", headers=token(running, client))
            assert me.json()["userPrincipalName"] == "alice@example.com"


def test_a_port_that_is_taken_is_an_error():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(OSError), EmulatorThread(EmulatorOptions(port=port, messages=0)):
            pass


async def test_stop_may_be_called_twice_and_leaves_no_task():
    running = await serve.start(EmulatorOptions(port=0, messages=0))
    before = len(asyncio.all_tasks())
    await running.stop()
    await running.stop()
    assert len(asyncio.all_tasks()) <= before - 1
    assert not await asyncio.to_thread(Path(running.ca_file).exists)


def test_a_process_ends_on_sigterm(tmp_path: Path):
    ready = tmp_path / "ready.json"
    script = (
        "import asyncio; from gateway.emulator.serve import *;"
        f"asyncio.run(run(EmulatorOptions(port=0, messages=1, ready_file={str(ready)!r}),"
        " lambda r: print(r.base_url, flush=True)))"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        told = json.loads(ready.read_text())
        assert (told["base_url"], told["pid"]) == (url, child.pid)
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.wait()


async def test_a_client_that_trusts_nothing_is_refused_and_the_server_lives():
    async with staged(http=False) as s:
        async with httpx.AsyncClient() as stranger:
            with pytest.raises(httpx.ConnectError):
                await stranger.get(f"{s.running.base_url}/_emulator/log")
        assert (await s.control("GET", "log")).status_code == 200


def test_certificates_verify_strictly_and_the_key_is_ours_alone(tmp_path: Path):
    made = make_certificates(tmp_path, ["127.0.0.1", "localhost", "graph.test"])
    assert stat.S_IMODE(os.stat(made.key).st_mode) == 0o600
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.chain, made.key)
    client = ssl.create_default_context(cafile=made.ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(inward, outward, server_side=True),
        client.wrap_bio(outward, inward, server_hostname="graph.test"),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[1].version() == "TLSv1.3"
    again = make_certificates(tmp_path, ["localhost"])
    assert again.ca.read_bytes()


def test_users_are_named_in_order():
    assert serve.user_names(1) == ["alice@example.com"]
    assert serve.user_names(4)[2:] == ["carol@example.com", "user4@example.com"]


# -- what is in the mailboxes --


def test_the_inbox_has_as_many_as_asked_the_whole_corpus_first():
    tenant = filled(1000)
    rows = tenant.listing("alice@example.com", "inbox")
    assert len(rows) == 1000
    by_size = Counter(r["size"] for r in rows)
    assert all(by_size[len(s.data)] for s in corpus.deliverable() if "smime-opaque" not in s.tags)
    times = [r["receivedDateTime"] for r in rows]
    assert times == sorted(times) and times[0][:4] < times[-1][:4]
    assert [r["sha256"] for r in rows].count(None) == 2


def test_variants_have_their_own_identity():
    rows = filled(2000).listing("alice@example.com", "inbox")[len(corpus.deliverable()) :]
    ids = [r["internetMessageId"] for r in rows if r["internetMessageId"]]
    assert len(ids) == len(set(ids)) > 1500
    assert len({r["sha256"] for r in rows}) > 0.95 * len(rows)


def test_some_are_read_flagged_and_categorised():
    rows = filled(1000).listing("alice@example.com", "inbox")
    assert 500 < sum(bool(r["isRead"]) for r in rows) < 800
    assert 10 < sum(r["flag"] == "flagged" for r in rows) < 150
    assert 50 < sum(bool(r["categories"]) for r in rows) < 200


def test_the_same_seed_gives_the_same_mail():
    def look(seed_number: int) -> list[object]:
        rows = filled(400, seed_number).listing("alice@example.com", None)
        return [(r["subject"], r["isRead"], r["folderName"]) for r in rows]

    assert look(3) == look(3) != look(4)


def test_other_folders_and_other_users_have_a_few():
    tenant = filled(50)
    counts = {f["displayName"]: f["totalItemCount"] for f in tenant.outlook_folders("alice@example.com")}
    assert counts["Inbox"] == 50 and counts["Alpha"] == 4 and counts["Archive"] == 5
    assert len(tenant.listing("bob@example.com", None)) == len(tenant.listing("carol@example.com", None)) == 5


def test_none_means_none():
    tenant = filled(0)
    assert tenant.listing("alice@example.com", None) == tenant.listing("bob@example.com", None) == []


def test_twenty_thousand_are_quick():
    corpus.messages()
    start = time.process_time()
    tenant = filled(20_000)
    assert time.process_time() - start < 10
    assert len(tenant.box("alice@example.com").items) > 20_000


def test_no_message_is_refused_by_its_own_emulator():
    """Every seeded message can be read back, but for the opaque S/MIME ones."""
    with (
        EmulatorThread(EmulatorOptions(port=0, http=True, messages=400)) as running,
        trusting(running) as client,
    ):
        client.post("/_emulator/limits", json={"requests_per_10min": 1e9})
        headers = token(running, client) | {"Prefer": 'IdType="ImmutableId"'}
        rows = client.get("/_emulator/users/alice@example.com/messages?folder=inbox").json()
        statuses = Counter(
            client.get(
                f"/v1.0/users/alice@example.com/messages/{r['id']}/$value", headers=headers
            ).status_code
            for r in rows
        )
        assert statuses == {200: 398, 500: 2}


@pytest.mark.parametrize("http", [True, False])
async def test_answers_do_not_wait_for_delayed_acknowledgements(http: bool):
    """Without TCP_NODELAY a chunked answer takes 40 ms on loopback."""
    async with staged(http=http) as s:
        await s.get("/v1.0/me")
        for server in s.running._servers:
            for connection in server.server_state.connections:
                sock = connection.transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sum(len(server.server_state.connections) for server in s.running._servers) >= 1
