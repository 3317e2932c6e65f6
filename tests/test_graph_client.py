"""`GraphClient.call`: what goes over the wire, what is bounded, what is never told."""

from __future__ import annotations

import asyncio
import gzip
import logging
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import httpx
import pytest
import structlog
from replay.player import BASE, NoJitter, Tokens
from replay.virtual import VirtualClock, settle

from gateway.core.limits import DEFAULT_LIMITS, MIB
from gateway.graph.client import LINGER, CallRecord, GraphClient
from gateway.graph.errors import GraphError, OutcomeUnknown, Throttled, Unreachable
from gateway.graph.mail import GraphMailbox
from gateway.graph.model import Priority
from gateway.graph.reading import ends_well
from gateway.graph.request import Request

FOLDER = b'{"id":"I=","displayName":"Inbox"}'


class Stream(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def reply(status: int, *pieces: bytes | Exception, **headers: str) -> httpx.Response:
    named = {"transfer-encoding": "chunked", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return httpx.Response(
        status, headers=named, stream=Stream(*pieces), extensions={"http_version": b"HTTP/1.1"}
    )


class Server(httpx.AsyncBaseTransport):
    """Answers by a function; the last of `answers` goes on for ever."""

    def __init__(self, *answers: Callable[[], httpx.Response | Awaitable[httpx.Response]]) -> None:
        self._answers = list(answers)
        self.seen: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = (self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])()
        return answer if isinstance(answer, httpx.Response) else await answer


class Desk:
    def __init__(
        self, *answers: Callable[[], httpx.Response | Awaitable[httpx.Response]], **limits: float
    ) -> None:
        self.clock = VirtualClock()
        self.server = Server(*answers)
        self.records: list[CallRecord] = []
        self.tokens = Tokens()
        self.client = GraphClient(
            BASE,
            self.tokens,
            limits=replace(DEFAULT_LIMITS, **limits),  # type: ignore[arg-type]
            clock=self.clock,
            rng=NoJitter(1),
            transport=self.server,
            metrics=self.records.append,
        )
        self.alice = GraphMailbox(self.client, "alice@x.example")


async def test_truncated_gzip_is_no_answer() -> None:
    whole = gzip.compress(FOLDER)
    desk = Desk(
        lambda: reply(200, whole[:-9], content_encoding="gzip"),
        lambda: reply(200, whole, content_encoding="gzip"),
    )
    task = asyncio.create_task(desk.alice.get_folder("inbox"))
    await desk.clock.advance(10)
    assert (await task).id == "I="
    assert desk.records[0].tries == 2


async def test_a_body_that_ends_with_the_connection_is_no_answer() -> None:
    def unframed() -> httpx.Response:
        response = reply(200, FOLDER)
        del response.headers["transfer-encoding"]
        return response

    desk = Desk(unframed, lambda: reply(200, FOLDER))
    task = asyncio.create_task(desk.alice.get_folder("inbox"))
    await desk.clock.advance(10)
    await task
    assert desk.records[0].tries == 2


async def test_answers_are_bounded_packed_or_not() -> None:
    bomb = zlib.compressobj(wbits=31)
    packed = b"".join(bomb.compress(bytes(MIB)) for _ in range(100)) + bomb.flush()
    request = Request(method="GET", template="/x", path="/x", max_answer=MIB)
    for answer in (
        lambda: reply(200, packed, content_encoding="gzip"),
        lambda: reply(200, *[bytes(MIB)] * 3),
        lambda: reply(200, b"x", content_encoding="br"),
    ):
        desk = Desk(answer)
        with pytest.raises(OutcomeUnknown):
            await desk.client.call(request)


async def test_the_status_of_an_error_outlives_its_body() -> None:
    desk = Desk(lambda: reply(403, b'{"err', httpx.ReadError("cut")))
    with pytest.raises(GraphError) as caught:
        await desk.alice.send_mime(b"x")
    assert type(caught.value).__name__ == "Denied"


async def test_what_never_left_may_go_again_whatever_it_is() -> None:
    def refused() -> httpx.Response:
        raise httpx.ConnectError("refused")

    desk = Desk(refused, lambda: reply(202))
    task = asyncio.create_task(desk.alice.send_mime(b"x"))
    await desk.clock.advance(10)
    await task
    assert [await request.aread() for request in desk.server.seen] == [b"eA==", b"eA=="]


async def test_a_sign_in_service_that_stumbles_is_asked_again() -> None:
    class Stumbling(Tokens):
        failures = 2

        async def token(self, *, claims: str | None = None, force: bool = False) -> str:
            if self.failures:
                self.failures -= 1
                raise Unreachable("the sign-in service failed")
            return await super().token(claims=claims, force=force)

    desk = Desk(lambda: reply(202))
    desk.client._tokens = Stumbling()
    task = asyncio.create_task(desk.alice.send_mime(b"x"))
    await desk.clock.advance(10)
    await task
    assert len(desk.server.seen) == 1


async def test_patience_is_two_minutes() -> None:
    desk = Desk(lambda: reply(503))
    task = asyncio.create_task(desk.alice.get_folder("inbox"))
    await desk.clock.advance(60)
    assert not task.done()
    await desk.clock.advance(60)
    with pytest.raises(Unreachable):
        await task
    assert desk.records[0].seconds <= 120
    assert desk.records[0].error == "Unreachable"


async def test_a_hang_ends_by_itself() -> None:
    async def hang() -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    desk = Desk(hang, graph_timeout=0.01)
    with pytest.raises(OutcomeUnknown):
        await desk.alice.send_draft("m1")
    assert desk.client.scheduler("alice@x.example").in_flight == 0


async def test_a_call_given_up_keeps_its_slot_until_graph_has_answered() -> None:
    """Graph works on it all the same, and would count a fifth call."""
    answer = asyncio.Event()

    async def slow() -> httpx.Response:
        await answer.wait()
        return reply(200, FOLDER)

    desk = Desk(slow)
    task = asyncio.create_task(desk.alice.get_folder("inbox"))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    scheduler = desk.client.scheduler("alice@x.example")
    assert scheduler.in_flight == 1
    answer.set()
    await settle()
    assert scheduler.in_flight == 0


async def test_a_429_for_a_call_given_up_counts_all_the_same() -> None:
    answer = asyncio.Event()

    async def slow() -> httpx.Response:
        await answer.wait()
        return reply(429, retry_after="7")

    desk = Desk(slow)
    task = asyncio.create_task(desk.alice.get_folder("inbox"))
    await settle()
    task.cancel()
    answer.set()
    await settle()
    assert desk.client.scheduler("alice@x.example").slots == 2


async def test_cancelling_frees_the_slot_and_the_connection_in_the_end() -> None:
    closed: list[bool] = []

    async def hang() -> httpx.Response:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)
        raise AssertionError

    desk = Desk(hang)
    task = asyncio.create_task(desk.alice.get_folder("inbox"))
    await settle()
    assert desk.client.scheduler("ALICE@x.example").in_flight == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await desk.clock.advance(LINGER)
    assert closed == [True]
    assert desk.client.scheduler("alice@x.example").in_flight == 0


async def test_a_429_pauses_the_other_calls_of_the_mailbox_only() -> None:
    desk = Desk(lambda: reply(429, retry_after="30.5"), lambda: reply(200, FOLDER))
    throttled = asyncio.create_task(desk.alice.get_folder("inbox"))
    await settle()
    other = asyncio.create_task(desk.alice.get_folder("drafts"))
    bob = asyncio.create_task(GraphMailbox(desk.client, "bob@x.example").get_folder("inbox"))
    await desk.clock.advance(30)
    assert bob.done() and not other.done() and not throttled.done()
    await desk.clock.advance(1)
    assert other.done() and throttled.done()


async def test_a_pause_longer_than_patience_is_told_at_once() -> None:
    desk = Desk(lambda: reply(429, retry_after="600"))
    for _ in range(2):
        with pytest.raises(Throttled) as caught:
            await desk.alice.get_folder("inbox")
        assert caught.value.retry_after == 600


async def test_many_calls_with_an_old_token_sign_in_once() -> None:
    class Old(Server):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.seen.append(request)
            await asyncio.sleep(0)
            fresh = request.headers["authorization"] != "Bearer token-1"
            return reply(200, FOLDER) if fresh else reply(401)

    desk = Desk(lambda: reply(500))
    desk.client._http._transport = Old(lambda: reply(500))
    await asyncio.gather(*(desk.alice.get_folder("inbox") for _ in range(4)))
    assert desk.tokens.refreshes == [""]


async def test_cookies_and_redirects_lead_nowhere() -> None:
    desk = Desk(
        lambda: reply(200, FOLDER, set_cookie="who=alice; Path=/"),
        lambda: reply(302, location="https://evil.example/"),
    )
    await desk.alice.get_folder("inbox")
    task = asyncio.create_task(desk.alice.get_folder("inbox"))
    await desk.clock.advance(200)
    with pytest.raises(Unreachable):
        await task
    assert all("cookie" not in request.headers for request in desk.server.seen)
    assert {request.url.host for request in desk.server.seen} == {"graph.microsoft.com"}


async def test_nothing_of_a_message_or_its_owner_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    session = b'{"uploadUrl":"https://graph.microsoft.com/upload/SECRETURL"}'
    desk = Desk(
        lambda: reply(200, b"Subject: SECRETSUBJECT\r\n\r\nSECRETBODY"),
        lambda: reply(202),
        lambda: reply(201, session),
        lambda: reply(201),
        lambda: reply(404, b'{"error":{"code":"ErrorItemNotFound","message":"SECRETTEXT"}}'),
    )
    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.DEBUG):
        await desk.alice.mime("SECRETID")
        await desk.alice.send_mime(b"SECRETBODY")
        await desk.alice.add_attachment("SECRETID", {"name": "SECRETNAME"}, bytes(3 * MIB))
        with pytest.raises(GraphError) as caught:
            await desk.alice.delete("SECRETID")
    assert [line["path"] for line in lines] == [
        "/users/{user}/messages/{message}/$value",
        "/users/{user}/sendMail",
        "/users/{user}/messages/{message}/attachments/createUploadSession",
        "{uploadUrl}",
        "/users/{user}/messages/{message}",
    ]
    told = f"{lines}{desk.records}{caught.value!r}{caught.value}"
    assert "SECRET" not in told and "alice" not in told and "token-" not in told
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("gateway"))
    assert "SECRET" not in ours


async def test_records_tell_what_a_call_cost() -> None:
    desk = Desk(lambda: reply(503), lambda: reply(200, b'{"value":[]}'))
    task = asyncio.create_task(desk.alice.folder_tree(priority=Priority.BULK))
    await desk.clock.advance(5)
    assert await task == []
    assert desk.records == [
        CallRecord("GET", "/users/{user}/mailFolders", 200, 0.5, 2, 0, 12, Priority.BULK, "")
    ]


@pytest.mark.parametrize(
    ("content", "good"),
    [
        (b"Subject: x\r\n\r\nhello", True),
        (b"", True),
        (b'Content-Type: multipart/mixed;\r\n boundary="b 1"\r\n\r\n--b 1\r\n\r\nx\r\n--b 1--\r\n', True),
        (b"content-type: MULTIPART/mixed; boundary=b1\r\n\r\n--b1\r\n\r\nx\r\n--b1--", True),
        (b"Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n\r\nx\r\n--b1\r\n", False),
        (b"Content-Type: multipart/mixed; boundary=b1\r\n", False),
        (b"Subject: multipart/mixed; boundary=b1\r\n\r\nx", True),
    ],
)
def test_a_multipart_has_an_end(content: bytes, good: bool) -> None:
    assert ends_well(content) is good


async def test_mime_without_its_end_is_believed_when_it_comes_twice() -> None:
    cut = b"Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n\r\nhel"
    whole = cut + b"lo\r\n--b1--\r\n"
    assert await Desk(lambda: reply(200, cut), lambda: reply(200, whole)).alice.mime("m") == whole
    desk = Desk(lambda: reply(200, cut))
    assert await desk.alice.mime("m") == cut
    assert len(desk.server.seen) == 2


async def test_a_call_looks_for_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpcore tries to import what is not installed, for each lock: the answer must not be sought on the disk."""
    sought: list[str] = []

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            sought.append(name)

    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient() as http:
        await http.get(url)
        monkeypatch.setattr("sys.meta_path", [Finder, *sys.meta_path])
        for _ in range(3):
            assert (await http.get(url)).text == "ok"
    server.close()
    assert sought == []


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
