"""Parts that travel as files, and the message without them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mime_trees import TREES
from sending_support import Kept, leaves

from gateway.mime.detach import cuts, detachable, file_of, filename, obstacle
from gateway.mime.part import scan
from gateway.mime.recipe import recipe


def leaf(kind: str, body: str = "x", **more: str) -> bytes:
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
    return f"Content-Type: {kind}\r\n{head}\r\n{body}".encode()


def multipart(*parts: bytes, kind: str = "mixed", boundary: str = "b") -> bytes:
    mark = boundary.encode()
    inside = b"".join(b"--%b\r\n%b\r\n" % (mark, part) for part in parts)
    return b"Content-Type: multipart/%b; boundary=%b\r\n\r\n%b--%b--\r\n" % (
        kind.encode(),
        mark,
        inside,
        mark,
    )


FILE = {"Content_Disposition": 'attachment; filename="f.bin"'}
TEXT = leaf("text/plain", "text")


def without(raw: bytes, gone: set[int]) -> bytes:
    edits, empty = cuts(scan(raw), gone)
    written = b"".join(recipe(edits, len(raw), bare=False).pieces(Kept(raw)))
    return b"" if empty else written


@given(TREES, st.data())
def test_what_is_left_is_what_was_not_taken(tree: object, data: st.DataObject) -> None:
    raw: bytes = tree.raw  # type: ignore[attr-defined]
    parts = list(detachable(scan(raw)))
    gone = {part.start for part in parts if data.draw(st.booleans())}
    left = without(raw, gone)
    starts = _starts(raw)
    kept = [each for each, start in zip(leaves(raw), starts, strict=True) if start not in gone]
    assert (leaves(left) if left else []) == kept


def _starts(raw: bytes) -> list[int]:
    def walk(part):  # type: ignore[no-untyped-def]
        return [s for child in part.children for s in walk(child)] if part.is_multipart else [part.start]

    return walk(scan(raw))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (multipart(TEXT, leaf("application/pgp-signature"), kind="signed"), "signed"),
        (multipart(TEXT, multipart(TEXT, TEXT, kind="encrypted", boundary="c")), "encrypted"),
        (leaf("application/pkcs7-mime; smime-type=enveloped-data"), "S/MIME"),
        (multipart(TEXT, leaf("message/delivery-status"), kind="report"), "report"),
        (multipart(TEXT, multipart(TEXT, TEXT, kind="appledouble", boundary="c")), "Macintosh"),
        (multipart(TEXT, leaf("text/calendar; method=REQUEST"), kind="alternative"), "meeting"),
        (leaf("message/partial; id=x; number=1"), "message of its own"),
        (multipart(TEXT, leaf("image/png")), ""),
        (
            multipart(
                TEXT,
                leaf("message/rfc822", "Content-Type: multipart/signed; boundary=q\r\n\r\n--q\r\n\r\n--q--"),
            ),
            "",
        ),
        (multipart(TEXT, leaf("application/pkcs7-mime", **FILE)), ""),
        (leaf("application/pdf"), ""),
    ],
)
def test_what_must_not_be_taken_apart(raw: bytes, why: str) -> None:
    found = obstacle(scan(raw))
    assert why in found if why else not found


def kinds(raw: bytes) -> list[str]:
    return [(part.type + b"/" + part.subtype).decode() for part in detachable(scan(raw))]


def test_texts_and_forms_of_one_thing_stay() -> None:
    related = multipart(leaf("text/html"), leaf("image/png", Content_ID="<i>"), kind="related", boundary="r")
    both = multipart(TEXT, related, leaf("image/gif"), kind="alternative", boundary="a")
    inner = leaf("message/rfc822", "Subject: x\r\n\r\ny")
    raw = multipart(both, leaf("text/plain", **FILE), leaf("text/csv"), TEXT, inner)
    assert kinds(raw) == ["text/plain", "text/csv", "message/rfc822", "image/png"]


def test_a_root_that_is_a_file_goes_and_one_that_is_text_does_not() -> None:
    assert kinds(leaf("application/pdf")) == ["application/pdf"]
    assert kinds(TEXT) == [] and kinds(leaf("text/plain", **FILE)) == ["text/plain"]
    assert cuts(scan(leaf("application/pdf")), {0})[1]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("Content-Disposition: attachment; filename=a.txt", "a.txt"),
        ("Content-Disposition: attachment; filename*=utf-8''gr%C3%BCn.pdf", "grün.pdf"),
        ("Content-Disposition: attachment; filename*=iso-8859-1'de'gr%FCn.pdf", "grün.pdf"),
        ("Content-Disposition: attachment; filename*0*=utf-8''gr%C3; filename*1*=%BCn.pdf", "grün.pdf"),
        ("Content-Disposition: attachment; filename*0=lo; filename*1=ng.pdf", "long.pdf"),
        ('Content-Disposition: attachment; filename="=?utf-8?q?gr=C3=BCn?=.pdf"', "grün.pdf"),
        ("Content-Disposition: attachment; filename=x.pdf; filename*=utf-8''y.pdf", "y.pdf"),
        ('Content-Type: image/png; name="a b.png"', "a b.png"),
        ('Content-Disposition: attachment; filename="a\tb"', "a b"),
        ("Content-Disposition: attachment", ""),
    ],
)
def test_names(head: str, name: str) -> None:
    assert filename(scan(f"{head}\r\n\r\n".encode())) == name


def test_files_as_graph_describes_them() -> None:
    raw = b"Content-Type: image/png\r\nContent-ID: <c@x>\r\nContent-Disposition: inline\r\n\r\n"
    found = file_of(scan(raw), 3)
    assert (found.name, found.type, found.content_id, found.inline) == (
        "ATT00003.png",
        "image/png",
        "c@x",
        True,
    )
    assert not file_of(scan(raw.replace(b"inline", b"attachment")), 1).inline
    assert file_of(scan(b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n"), 1).name == "ATT00001.eml"
