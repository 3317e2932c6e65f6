"""What is fuzzed of submission: the data of a message, the header that is rewritten, the arguments of MAIL and RCPT."""

from __future__ import annotations

from gateway.mime.header import header_end
from gateway.smtp import parameters, paths
from gateway.smtp.data import Undotter
from gateway.smtp.replies import Rejected, Reply
from gateway.smtp.rewriting import SentAs

ENDS = (b"\r", b"\n")
FALSE = [before + b"." + behind for before in ENDS for behind in ENDS]


def _cut(data: bytes) -> list[bytes]:
    """The first octet says into what pieces."""
    step, rest = data[0] % 64 + 1, data[1:]
    return [rest[at : at + step] for at in range(0, len(rest), step)]


def _undotted(pieces: list[bytes]) -> tuple[bytes, bytes, bool]:
    undotter, text = Undotter(), b""
    for number, piece in enumerate(pieces):
        text += undotter.feed(piece)
        if undotter.ended:
            return text, undotter.rest + b"".join(pieces[number + 1 :]), undotter.smuggling
    raise AssertionError("there was an end")


def data(octets: bytes) -> None:
    """The cuts do not show, the end is the first true one, and a false one is noticed."""
    if not octets:
        return
    sent = [*_cut(octets), b"\r\n.\r\n"]
    text, rest, smuggling = _undotted(sent)
    whole = b"".join(sent)
    assert _undotted([whole]) == (text, rest, smuggling), "the cuts show"
    before = b"\r\n" + whole[: len(whole) - len(rest)]
    assert (b"\r\n" + whole).find(b"\r\n.\r\n") == len(before) - 5, "another end was taken"
    assert smuggling == any(false in before[:-3] for false in FALSE)
    assert len(text) <= len(before) - 5


def rewriting(octets: bytes) -> None:
    """The cuts do not show, there is one From, and what lies behind the header stays."""
    if not octets:
        return
    sent = SentAs("us@example.com")
    found = b"".join([*(sent.feed(piece) for piece in _cut(octets)), sent.end()])
    again = SentAs("us@example.com")
    assert again.feed(octets[1:]) + again.end() == found, "the cuts show"
    if octets[1:]:
        assert found.endswith(octets[1:][header_end(octets[1:]) :])
        header = found[: header_end(found)].lower()
        assert (b"\r\n" + header).count(b"\r\nfrom:") == 1


def arguments(octets: bytes) -> None:
    """A value that can stand in a header and in a report, or a reply."""
    text = octets.decode("utf-8", "surrogateescape")
    for keyword in ("FROM", "TO"):
        reply = _refusal(keyword, text)
        assert reply is None or (500 <= reply.code < 560 and reply.wire().isascii())


def _refusal(keyword: str, text: str) -> Reply | None:
    try:
        given = paths.argument(f"{keyword}:{text}", keyword)
        if given.path:
            assert paths.address(given.path, utf8=True, bad="5.1.3").isprintable()
        if keyword == "FROM":
            mail = parameters.mail_parameters(given.parameters, now=1e9, longest_hold=1000)
            assert mail.envid.isprintable() and (not mail.hold_until or 0 <= mail.hold_until - 10**9 <= 1000)
        else:
            assert parameters.rcpt_parameters(given.parameters).orcpt.isprintable()
    except Rejected as rejected:
        return rejected.reply
    return None
