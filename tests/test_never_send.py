"""What must never happen on the way out (1, 6, 12): lost, doubled, misdirected or disclosed mail."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.account_world import ALICE, BOB, CAROL, Site, account_world

SENT = "Sent Items"


@pytest.fixture
async def s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr("gateway.mailbox.sending.outcome.LOOKS", (0.0, 0.05, 0.1, 0.2))
    monkeypatch.setattr("gateway.mailbox.sending.steps._LOOKS", (0.05, 0.1))
    monkeypatch.setattr("gateway.graph.calls.WAITS", (0.05, 0.05, 0.05))
    async with account_world(tmp_path) as site:
        yield site


def letter(subject: str = "Hello", to: str = BOB, *, extra: str = "", body: str = "Text.") -> bytes:
    text = (
        f"From: {ALICE}\nTo: {to}\nSubject: {subject}\nDate: Mon, 02 Nov 2026 10:00:00 +0000\n"
        f"Message-ID: <{subject.replace(' ', '.')}@example.com>\n{extra}\n{body}\n"
    )
    return text.replace("\n", "\r\n").encode()


async def arrived(s: Site, user: str = BOB) -> list[str]:
    return [m["subject"] for m in await s.outlook.listing("inbox", user)]


async def sent(s: Site) -> list[str]:
    return [m["subject"] for m in await s.outlook.listing("sentitems")]


async def shown(s: Site, user: str) -> bytes:
    """The one message in a user's inbox, through the gateway."""
    client = await s.client(user)
    await client.select()
    return (await client.do("FETCH 1 (BODY.PEEK[])")).ok().literal()


# -- 1: failed, answered 250, never sent; or timed out and sent twice --

LOST = [
    {"mode": "error", "status": 503},
    {"mode": "error", "status": 500},
    {"mode": "error", "status": 504, "body": "<html>Gateway Timeout</html>"},
    {"mode": "error", "status": 200, "body": "<html>Welcome</html>"},
    {"mode": "error", "status": 202, "probability": 0.0},  # nothing goes wrong
    {"mode": "reset"},
    {"mode": "cut"},
    {"mode": "commit-then-fail", "status": 504},
    {"mode": "commit-then-fail", "status": 500},
    {"mode": "commit-then-fail", "status": 0},
]


@pytest.mark.parametrize("step", ["/messages$", "/send$"])
@pytest.mark.parametrize("failure", LOST, ids=lambda f: f"{f['mode']}-{f.get('status', '')}")
async def test_never_1_a_submission_is_in_the_mailbox_as_often_as_it_was_accepted(
    s: Site, failure: dict[str, object], step: str
) -> None:
    """The client repeats what was not accepted, as clients do. 250 once, delivered once."""
    await s.account()
    await s.outlook.fault("POST", step, **failure)  # type: ignore[arg-type]
    for _ in range(4):
        code, _text = await s.smtp(letter())
        if code == 250:
            break
        assert 400 <= code <= 499, code
        assert await sent(s) in ([], ["Hello"])
    assert code == 250
    assert await arrived(s) == ["Hello"]
    assert await sent(s) == ["Hello"]


async def test_never_1_a_submission_without_answer_is_not_accepted_and_not_sent_by_the_retry_if_it_was(
    s: Site,
) -> None:
    """Graph takes it and stays silent; the copy shows up only after the client was told 451."""
    await s.outlook.limits(sent_copy_seconds=2.0)
    await s.account()
    await s.outlook.fault("POST", "/send$", "commit-then-fail", status=0)
    code, _ = await s.smtp(letter())
    assert code == 451
    await asyncio.sleep(1.8)
    assert (await s.smtp(letter()))[0] == 250
    assert await arrived(s) == ["Hello"]


async def test_never_1_a_retry_after_a_restart_still_looks_first(s: Site) -> None:
    await s.outlook.limits(sent_copy_seconds=1.5)
    await s.account()
    await s.outlook.fault("POST", "/send$", "commit-then-fail", status=0)
    assert (await s.smtp(letter()))[0] == 451
    await s.restart()
    await s.account()
    await asyncio.sleep(1.2)
    assert (await s.smtp(letter()))[0] == 250
    assert await arrived(s) == ["Hello"]


async def test_never_1_what_was_never_sent_is_sent_by_the_retry(s: Site) -> None:
    """A hang that ended in nothing: the draft is there still, and it is what the retry sends."""
    await s.account()
    await s.outlook.fault("POST", "/send$", "reset", count=6)
    codes = [(await s.smtp(letter()))[0] for _ in range(3)]
    assert codes == [451, 451, 250]
    assert await arrived(s) == ["Hello"] == await sent(s)
    assert await s.outlook.calls("POST", "/messages$") == 1 and await s.outlook.listing("drafts") == []


async def test_never_1_graph_down_is_a_451_and_the_session_lives(s: Site) -> None:
    await s.account()
    await s.outlook.down()
    assert (await s.smtp(letter()))[0] == 451
    await s.outlook.heal()
    assert (await s.smtp(letter()))[0] == 250
    assert await arrived(s) == ["Hello"]


@pytest.mark.parametrize(
    ("status", "code", "reply"),
    [
        (403, "ErrorSendAsDenied", 550),
        (413, "RequestEntityTooLarge", 552),
        (400, "ErrorInvalidRecipients", 550),
        (400, "ErrorMimeContentInvalid", 554),
        (403, "ErrorQuotaExceeded", 452),
        (429, "ErrorExceededMessageLimit", 452),
        (403, "ErrorExceededMaxRecipientLimit", 452),
        (400, "UnableToDeserializePostBody", 554),
    ],
)
@pytest.mark.parametrize("step", ["/messages$", "/send$"])
async def test_never_1_a_refusal_is_a_clear_reply_and_nothing_is_sent(
    s: Site, status: int, code: str, reply: int, step: str
) -> None:
    await s.account()
    await s.outlook.fault("POST", step, status=status, code=code)
    assert (await s.smtp(letter()))[0] == reply
    assert await arrived(s) == [] == await sent(s)
    assert await s.outlook.calls("POST", step) == 1
    if reply >= 500:
        assert await s.outlook.listing("drafts") == []


async def test_never_1_two_clients_that_send_the_same_at_once_are_two_submissions(s: Site) -> None:
    await s.account()
    codes = [code for code, _ in await asyncio.gather(s.smtp(letter()), s.smtp(letter()))]
    assert codes == [250, 250]
    assert await arrived(s) == ["Hello", "Hello"]


async def test_never_1_a_silent_200_is_not_taken_for_sent(s: Site) -> None:
    """Trap 24: a body over 4 MB is answered 200 and nothing is sent. It is refused before that."""
    await s.account()
    code, _ = await s.smtp(letter(body="x" * 70 + "\n" + "y" * 3_300_000))
    assert code == 552
    assert await s.outlook.calls("POST", "/messages$|/send$|/sendMail") == 0
    assert await arrived(s) == []


async def hang_up_at_250(s: Site, raw: bytes) -> bytes:
    """A client whose connection is gone when the 250 comes; the reply, which it never read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", s.smtp_port)
    await reader.readline()
    login = b64encode(f"\0{ALICE}\0demo".encode())
    commands = [
        b"EHLO x",
        b"AUTH PLAIN " + login,
        f"MAIL FROM:<{ALICE}>".encode(),
        f"RCPT TO:<{BOB}>".encode(),
        b"DATA",
    ]
    for command in commands:
        writer.write(command + b"\r\n")
        while (line := await reader.readline())[3:4] == b"-":
            pass
        assert line[:1] in b"23", line
    writer.write(raw + b".\r\n")
    reply = await reader.readline()
    writer.close()
    return reply


async def test_never_1_a_250_that_was_lost_is_said_again_and_the_message_not_sent_again(s: Site) -> None:
    await s.account()
    lost = await hang_up_at_250(s, letter("Once"))
    assert lost.startswith(b"250")
    code, text = await s.smtp(letter("Once"))
    assert code == 250 and text.rsplit(maxsplit=1)[1].encode() in lost
    assert await arrived(s) == ["Once"]
    assert (await s.smtp(letter("Once")))[0] == 250  # said after the second QUIT: another one
    assert await arrived(s) == ["Once", "Once"]


async def test_never_1_a_client_that_loses_patience_and_comes_again(s: Site) -> None:
    """It hangs up while Graph is at work; its second try waits for the first."""
    await s.account()
    await s.outlook.limits(service_ms=400)
    reader, writer = await asyncio.open_connection("127.0.0.1", s.smtp_port)
    login = b64encode(f"\0{ALICE}\0demo".encode()).decode()
    head = f"EHLO x\r\nAUTH PLAIN {login}\r\nMAIL FROM:<{ALICE}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n"
    writer.write(head.encode())
    while not (await reader.readline()).startswith(b"354"):
        pass
    writer.write(letter("Patience") + b".\r\n")
    await asyncio.sleep(0.2)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.05)
    assert (await s.smtp(letter("Patience")))[0] == 250
    assert await arrived(s) == ["Patience"]


# -- 6: who gets it --


async def test_never_6_an_address_in_the_headers_alone_gets_nothing(s: Site) -> None:
    await s.account()
    code, text = await s.smtp(letter(to=f"{BOB}, {CAROL}"), [BOB])
    assert code == 550 and "5.6.0" in text
    assert CAROL in text
    assert await arrived(s, BOB) == [] == await arrived(s, CAROL)
    assert await s.outlook.calls("POST", "/messages$|/send$|/sendMail") == 0


@pytest.mark.parametrize("field", ["Cc", "cc", "CC ", "Resent-To"])
async def test_never_6_in_no_field_that_shows(s: Site, field: str) -> None:
    await s.account()
    code, _ = await s.smtp(letter(extra=f"{field}: {CAROL}\n"), [BOB])
    assert code == 550
    assert await arrived(s, CAROL) == []


async def test_never_6_an_address_in_bcc_that_is_not_in_rcpt_gets_nothing(s: Site) -> None:
    """It is not shown to anybody, so it is taken out, and the others get their mail."""
    await s.account()
    code, _ = await s.smtp(letter(extra=f"Bcc: {CAROL}\n"), [BOB])
    assert code == 250
    assert await arrived(s, BOB) == ["Hello"]
    assert await arrived(s, CAROL) == []


async def test_never_6_a_recipient_in_rcpt_alone_gets_it_and_nobody_sees_him(s: Site) -> None:
    await s.account()
    assert (await s.smtp(letter(), [BOB, CAROL]))[0] == 250
    assert await arrived(s, BOB) == ["Hello"] == await arrived(s, CAROL)
    for user in (BOB, CAROL):
        raw = (await shown(s, user)).lower()
        assert b"carol" not in raw.split(b"\r\n\r\n")[0].replace(b"for <carol", b"")
        assert b"\nbcc:" not in raw


async def test_never_6_a_bcc_of_the_client_is_not_disclosed(s: Site) -> None:
    await s.account()
    assert (await s.smtp(letter(extra=f"Bcc: {CAROL}\n"), [BOB, CAROL]))[0] == 250
    raw = (await shown(s, BOB)).lower()
    assert b"carol@" not in raw and b"\nbcc:" not in raw
    assert await arrived(s, CAROL) == ["Hello"]


async def test_never_6_case_and_comments_in_addresses_do_not_matter(s: Site) -> None:
    await s.account()
    code, _ = await s.smtp(letter(to=f'"B. (x)" <BOB@Example.COM> (a comment, {CAROL})'), [BOB])
    assert code == 250
    assert await arrived(s, BOB) == ["Hello"]
    assert await arrived(s, CAROL) == []


async def test_never_6_another_sender_needs_a_right(s: Site) -> None:
    await s.account()
    code, text = await s.smtp(letter().replace(ALICE.encode(), CAROL.encode(), 1), [BOB], CAROL)
    assert code == 550 and "5.7.60" in text
    assert await arrived(s) == []


# -- 12: alarms --


async def test_never_12_a_second_identical_alarm_is_sent_as_well(s: Site) -> None:
    """Same octets, same Message-ID, accepted before: a device repeats itself on purpose."""
    await s.account()
    for _ in range(3):
        assert (await s.smtp(letter("Alarm")))[0] == 250
    assert await arrived(s) == ["Alarm"] * 3


async def test_never_12_the_same_message_to_another_recipient_is_sent_as_well(s: Site) -> None:
    await s.account()
    raw = letter("Alarm", to="undisclosed-recipients:;")
    assert (await s.smtp(raw, [BOB]))[0] == 250
    assert (await s.smtp(raw, [CAROL]))[0] == 250
    assert await arrived(s, BOB) == ["Alarm"] == await arrived(s, CAROL)


async def test_never_12_an_alarm_repeated_after_one_of_unknown_fate_is_sent_as_often_as_it_was_accepted(
    s: Site,
) -> None:
    await s.account()
    assert (await s.smtp(letter("Alarm")))[0] == 250
    await s.outlook.fault("POST", "/send$", "commit-then-fail", status=0)
    assert (await s.smtp(letter("Alarm")))[0] == 250  # looked at by its id, not mistaken for the first one
    assert await arrived(s) == ["Alarm"] * 2
    await s.outlook.fault("POST", "/send$", "reset", status=0, count=3)
    assert (await s.smtp(letter("Alarm")))[0] == 451  # not taken for one of the two that were sent
    assert (await s.smtp(letter("Alarm")))[0] == 250
    assert await arrived(s) == ["Alarm"] * 3
