"""Well-formed messages together with the tree they were made from, for the tests of what reads them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from gateway.mime.part import Part


@dataclass(frozen=True)
class Tree:
    """What a part is: `raw` its octets, header included; `body` without the header."""

    kind: bytes
    raw: bytes
    body: bytes
    children: tuple[Tree, ...] = ()


LINES = st.lists(st.text("ab -=.<>é", max_size=12).map(str.encode), max_size=4)
BODIES = st.builds(lambda lines, end: b"\r\n".join(lines) + end, LINES, st.sampled_from([b"", b"\r\n"]))
EXTRAS = st.sampled_from([b"", b"Content-ID: <i@x>\r\n", b"Subject: s\r\n folded\r\n", b"X-Y:\r\n"])


def _leaf(kind: bytes, extra: bytes, body: bytes) -> Tree:
    header = extra + b"Content-Type: %b\r\n\r\n" % kind
    return Tree(kind, header + body, body)


def _multipart(children: list[Tree], prologue: bytes, epilogue: bytes, kind: bytes) -> Tree:
    depth = max(_depth(child) for child in children)
    boundary = b"b" * (depth + 1)  # one is a prefix of the other
    pieces = [b"--%b\r\n%b\r\n" % (boundary, child.raw) for child in children]
    body = prologue + b"".join(pieces) + b"--%b--" % boundary + epilogue
    header = b'Content-Type: %b; boundary="%b"\r\n\r\n' % (kind, boundary)
    return Tree(kind, header + body, body, tuple(children))


def _message(inner: Tree, extra: bytes) -> Tree:
    header = extra + b"Content-Type: message/rfc822\r\n\r\n"
    return Tree(b"message/rfc822", header + inner.raw, inner.raw, (inner,))


def _depth(tree: Tree) -> int:
    return 1 + max((_depth(child) for child in tree.children), default=0)


LEAVES = st.builds(_leaf, st.sampled_from([b"text/plain", b"text/html", b"image/png"]), EXTRAS, BODIES)


def _containers(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    multiparts = st.builds(
        _multipart,
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from([b"", b"This is MIME.\r\n", b"--\r\n"]),
        st.sampled_from([b"", b"\r\n", b"\r\nepilogue\r\n"]),
        st.sampled_from([b"multipart/mixed", b"multipart/alternative", b"multipart/signed"]),
    )
    return multiparts | st.builds(_message, inner, EXTRAS)


TREES = st.recursive(LEAVES, _containers, max_leaves=8)

_HEADER_LINES = (
    b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"Content-Type: multipart/digest; boundary=c\r\n",
    b"Content-Type: message/rfc822\r\n",
    b'Content-Type: text/html; name="\xe9\\""\r\n',
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Disposition: ;\r\n",
    b"Content-Description: d \xff\r\n",
    b"Content-Language: a, b\r\n",
    b'Subject: \xe9"\\\r\n',
    b"From: a@b\r\n",
    b'To: x:;, "a" <@r:b@c>\r\n',
)
_BREAKS = (
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"--b",
    b"--b--",
    b"--c",
    b"--",
    b"text",
    b"\r",
    b" ",
    b"\x00",
    b"\xe9",
)

# Pieces of messages in any order: what a parser must survive.
SHRAPNEL = st.lists(st.sampled_from(_HEADER_LINES + _BREAKS), max_size=40).map(b"".join)


def parts_of(part: Part) -> list[Part]:
    """The part and everything inside it, in order."""
    return [part, *(inner for child in part.children for inner in parts_of(child))]
