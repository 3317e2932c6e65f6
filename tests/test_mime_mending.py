"""What Exchange or a relay would break is encoded otherwise; all else stays octet for octet."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mime_trees import TREES
from sending_support import Kept, leaves

from gateway.mime.compose import set_header
from gateway.mime.header import header_end
from gateway.mime.lineends import crlf
from gateway.mime.mending import Look, look, mend
from gateway.mime.part import scan
from gateway.mime.recipe import recipe


def mended(raw: bytes) -> bytes:
    """The message with its bodies mended, and its own header saying so."""
    source, part = Kept(raw), scan(raw)
    whole = look(source, 0, len(raw))
    found = mend(source, part, whole)
    header = crlf(raw[: part.body])
    for name, value in found.fields.items():
        header = set_header(header, name, value)
    made = recipe([(0, part.body, (header,)), *found.edits], len(raw), bare=whole.bare)
    return b"".join(made.pieces(source))


def leaf(encoding: str, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body


def mixed(*parts: bytes, kind: str = "mixed") -> bytes:
    inside = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return b"Content-Type: multipart/%b; boundary=b\r\n\r\n%b--b--\r\n" % (kind.encode(), inside)


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        (b"", Look()),
        (b"a\r\nb\r\n", Look()),
        (b"\xc3\xa9\r\n", Look(eight=True)),
        (b"\0\r\n", Look(nul=True)),
        (b"x" * 998 + b"\r\ny\r\n", Look()),
        (b"x" * 999 + b"\r\n", Look(long=True)),
        (b"x" * 998, Look()),
        (b"x" * 999, Look(long=True)),
        (b"a\r\n" + b"x" * 999 + b"\r\nb", Look(long=True)),
        (b"a\nb\r\n", Look(bare=True)),
        (b"a\rb\r\n", Look(bare=True)),
        (b"a\r\r\n", Look(bare=True)),
    ],
)
def test_what_octets_hold(raw: bytes, seen: Look) -> None:
    assert look(Kept(raw), 0, len(raw)) == seen


@given(st.lists(st.sampled_from([b"x" * 499, b"\r\n", b"\n", b"\r"]), max_size=12), st.integers(1, 700))
def test_windows_do_not_show(pieces: list[bytes], window: int) -> None:
    raw = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.mime.mending._WINDOW", window)
        assert look(Kept(raw), 0, len(raw)) == _plainly(raw)


def _plainly(raw: bytes) -> Look:
    long = any(len(line) + line.endswith(b"\r") * -1 > 998 for line in raw.split(b"\n")[:-1])
    last = raw.split(b"\n")[-1]
    bare = crlf(raw) != raw
    if bare:  # counted with a line end of two octets
        long = any(len(line) + 1 > 1000 for line in raw.split(b"\n")[:-1])
    return Look(long=long or len(last) > 998, bare=bare)


CASES = [
    ("quoted-printable", b"a=3Db=C3=A9", "text/html; charset=utf-8", True),
    ("quoted-printable", b"%PDF=00", "application/pdf", True),
    ("7bit", b"plain", "text/plain", False),
    ("8bit", b"plain", "text/plain", False),
    ("8bit", "é".encode(), "text/plain; charset=utf-8", True),
    ("7bit", b"x" * 1200, "text/plain", True),
    ("binary", b"a\0b", "application/octet-stream", True),
    ("base64", base64.b64encode(b"x" * 40), "image/png", False),
    ("base64", base64.b64encode(b"x" * 1200), "image/png", True),
    ("x-unknown", "é".encode(), "text/plain", False),
]


@pytest.mark.parametrize(("encoding", "body", "kind", "changed"), CASES)
def test_leaves(encoding: str, body: bytes, kind: str, changed: bool) -> None:
    raw = mixed(leaf(encoding, body, kind), leaf("7bit", b"beside"))
    out = mended(raw)
    assert (out != raw) is changed
    assert [each[4] for each in leaves(out)] == [each[4] for each in leaves(raw)]
    if changed:
        part = scan(out).children[0]
        assert part.encoding == b"base64" and out.isascii() and max(map(len, out.split(b"\r\n"))) <= 78


@pytest.mark.parametrize(("body", "charset"), [("é", b"utf-8"), (None, b"windows-1252")])
def test_text_that_does_not_say_its_charset_is_told_one(body: str | None, charset: bytes) -> None:
    raw = mixed(leaf("8bit", body.encode() if body else b"\xe9", 'text/plain; format="flowed"'))
    part = scan(mended(raw)).children[0]
    assert dict(part.params) == {b"charset": charset, b"format": b"flowed"}


@pytest.mark.parametrize("kind", ["signed; protocol=x", "encrypted; protocol=x"])
def test_what_is_signed_or_encrypted_stays(kind: str) -> None:
    raw = mixed(
        leaf("quoted-printable", b"a=3Db"), leaf("7bit", b"x" * 1200, "application/pgp-signature"), kind=kind
    )
    assert mended(raw) == raw
    outer = mixed(raw, leaf("7bit", b"footer")).replace(
        b"--b\r\nContent-Type: multipart", b"--b\r\nContent-Type: multipart"
    )
    assert b"a=3Db" in mended(
        outer.replace(b"boundary=b", b"boundary=c", 1).replace(b"--b\r\n", b"--c\r\n", 1)
    )


def test_messages_inside_stay() -> None:
    inner = leaf("quoted-printable", b"a=3Db")
    raw = mixed(
        b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" + inner, leaf("quoted-printable", b"c=3Dd")
    )
    out = mended(raw)
    assert b"a=3Db" in out and b"c=3Dd" not in out


def test_a_root_leaf_tells_what_its_header_must_say() -> None:
    raw = leaf("8bit", "é\n".encode(), "text/plain")
    found = mend(Kept(raw), scan(raw), look(Kept(raw), 0, len(raw)))
    assert found.fields == {
        b"content-transfer-encoding": b"base64",
        b"content-type": b"text/plain; charset=utf-8",
    }
    assert [(start, end) for start, end, _ in found.edits] == [(header_end(raw), len(raw))]


@given(TREES)
def test_nothing_that_is_read_changes(tree: object) -> None:
    raw = tree.raw  # type: ignore[attr-defined]
    once = mended(raw)
    assert [each[4].rstrip(b"\r\n") for each in leaves(once)] == [
        each[4].rstrip(b"\r\n") for each in leaves(raw)
    ]
    assert mended(once) == once
