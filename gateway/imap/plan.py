"""FETCH, compiled: a tuple of renderers for small items, another for octets sent as literals, and the
largest Need.

A plan is made once per distinct item list and kept (`plan_for`, bounded). Source: RFC 9051 sections 6.4.5,
7.5.2; RFC 3501 section 6.4.5 for RFC822 and its kin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from gateway.imap import binary
from gateway.imap.announce import flags_text, introduce
from gateway.imap.columns import FIELD_LISTS, Form, form_of
from gateway.imap.context import Gone
from gateway.imap.spec import Enabled
from gateway.mailbox.values import Body, Columns, Need, Row
from gateway.mime.header import fields_matching
from gateway.mime.section import Section, SectionText, Span, locate, partial
from gateway.wire.dates import format_date_time
from gateway.wire.encode import NIL, astring, object_id, string
from gateway.wire.fetchatt import Att, BinarySection, BinarySize, BodySection, FetchItem, Partial

if TYPE_CHECKING:
    from gateway.imap.session import Session
    from gateway.imap.session_state import SessionState

SLICE = 64 * 1024  # octets of a large body held at once
PLANS = 1024  # distinct item lists remembered


@dataclass(frozen=True, slots=True)
class Octets:
    """What becomes a literal: octets at hand, or spans of a body, read as they are sent."""

    source: bytes | Body
    spans: list[Span]
    form: ClassVar[bytes] = b""  # what stands before the literal's brace

    @property
    def size(self) -> int:
        return sum(end - start for start, end in self.spans)

    def slices(self) -> Iterator[bytes]:
        """In order, each at most SLICE octets. No literal may hold NUL (RFC 9051 section 4.3.1): it goes out as 0x80,
        so that every length stays true; BINARY has the octets as they are. Gone: the body holds less than it promised,
        and the literal's length is out already."""
        for start, end in self.spans:
            for at in range(start, end, SLICE):
                stop = min(end, at + SLICE)
                piece = self._read(at, stop)
                if len(piece) != stop - at:
                    raise Gone
                yield piece.replace(b"\0", b"\x80") if b"\0" in piece else piece

    def _read(self, start: int, end: int) -> bytes:
        return self.source[start:end] if isinstance(self.source, bytes) else self.source.read(start, end)

    def part(self, wanted: Partial | None) -> Octets:
        """Octets offset..offset+count of the whole; none where the offset is beyond its end."""
        if wanted is None:
            return self
        located = partial(self.spans, wanted.offset, wanted.count)
        assert isinstance(located, list)
        return Octets(self.source, located)


Inline = Callable[[Row], bytes]
Content = Octets | binary.Decoded
Streamed = Callable[[Row], Content | None]  # None: no such part, answered NIL


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """How to answer one list of FETCH items. UID comes first: old scripts' expressions look for it there."""

    inline: tuple[Inline, ...]
    streamed: tuple[tuple[bytes, Streamed], ...]  # label, what stands in the literal
    need: Need
    marks_seen: bool
    has_flags: bool
    needs_body: bool
    needs_meta: bool
    decodes: tuple[BinarySection | BinarySize, ...] = ()
    uid_only: bool = False
    form: Form | None = None  # how to tell many at once, if that can be done

    async def can_decode(self, row: Row) -> bool:
        """To be asked before the row is told. False: NO [UNKNOWN-CTE] (RFC 3516 section 4.3)."""
        return await binary.can_answer(row, self.decodes)

    def complete(self, row: Row) -> bool:
        """Whether the row holds what the plan needs; it does not if the message went away meanwhile."""
        if self.needs_body and row.body is None:
            return False
        return not self.needs_meta or row.meta is not None

    def say(self, session: Session, row: Row) -> None:
        """One FETCH response without literals: the hot path of a large mailbox."""
        if self.uid_only:
            session.out.untagged(self._start(row), self._head(session, row), b")")
        else:
            session.out.untagged(b"%d FETCH (%b)" % (row.seq, self._head(session, row)))

    def tell(self, session: Session, columns: Columns) -> Sequence[int]:
        """FETCH responses of all of these, of which `form` must be able to tell; the UIDs of those told."""
        if self.form is None:
            raise AssertionError("not a plan of columns")
        if self.has_flags:
            for flags in columns.flag_sets.values():
                introduce(session, flags.keywords)
        lines, uids = self.form.lines(columns)
        session.out.raw(b"".join(lines))
        return uids

    async def send(self, session: Session, row: Row) -> None:
        """One FETCH response with literals. Large ones go in slices, waiting for the peer between them."""
        head = self._head(session, row)
        bodies = [(label, find(row)) for label, find in self.streamed]
        session.mid_response = True
        session.out.raw(b"* %b%b" % (self._start(row), head))
        space = b" " if head else b""
        for label, octets in bodies:
            session.out.raw(space + label)
            await _send_octets(session, octets)
            space = b" "
        session.out.raw(b")\r\n")
        session.mid_response = False

    def _start(self, row: Row) -> bytes:
        """Up to the first item: `n FETCH (`, or where there are UIDs only, `uid UIDFETCH (` (RFC 9586 section 3.3)."""
        return b"%d UIDFETCH (" % row.uid if self.uid_only else b"%d FETCH (" % row.seq

    def _head(self, session: Session, row: Row) -> bytes:
        if self.has_flags and row.flags.keywords:
            introduce(session, row.flags.keywords)
        return b" ".join([render(row) for render in self.inline])


async def _send_octets(session: Session, octets: Content | None) -> None:
    """A literal always, also for nothing: scripts take what follows `{n}`. NIL only where no such part is."""
    if octets is None:
        session.out.raw(b" " + NIL)
        return
    session.out.raw(b" %b{%d}\r\n" % (octets.form, octets.size))
    for piece in octets.slices():
        session.out.raw(piece)
        await session.flush_if_full()


# -- small items --


def _structure(rendered: bytes | None) -> bytes:
    if rendered is None:
        raise AssertionError("Need.STRUCTURE brings it")
    return rendered


def _envelope(row: Row) -> bytes:
    if row.meta is None:
        raise AssertionError("Need.META brings the envelope")
    return row.meta.envelope


def _preview(row: Row) -> bytes:
    """UTF-8, which without UTF8=ACCEPT only a literal may carry (RFC 8970 section 3.3). NIL, for LAZY: not at hand."""
    preview = None if row.meta is None else row.meta.preview
    return b"PREVIEW " + (NIL if preview is None else string(preview.encode("utf-8", "replace")))


def _save_date(row: Row) -> bytes:
    return b"SAVEDATE " + (format_date_time(row.save_date) if row.save_date else NIL)


def _thread_id(row: Row) -> bytes:
    return b"THREADID " + object_id(row.thread_id)


INLINE: dict[Att, tuple[Need, Inline]] = {
    Att.UID: (Need.INDEX, lambda row: b"UID %d" % row.uid),
    Att.FLAGS: (Need.INDEX, lambda row: b"FLAGS " + flags_text(row.flags, row.recent)),
    Att.MODSEQ: (Need.INDEX, lambda row: b"MODSEQ (%d)" % row.modseq),
    Att.INTERNALDATE: (Need.INDEX, lambda row: b"INTERNALDATE " + format_date_time(row.internal_date)),
    Att.RFC822_SIZE: (Need.SIZE, lambda row: b"RFC822.SIZE %d" % (row.body.size if row.body else row.size)),
    Att.ENVELOPE: (Need.META, lambda row: b"ENVELOPE " + _envelope(row)),
    Att.BODY: (Need.MIME | Need.STRUCTURE, lambda row: b"BODY " + _structure(row.basic_structure)),
    Att.BODYSTRUCTURE: (
        Need.MIME | Need.STRUCTURE,
        lambda row: b"BODYSTRUCTURE " + _structure(row.structure),
    ),
    Att.EMAILID: (Need.STORED, lambda row: b"EMAILID " + object_id(row.email_id)),
    Att.THREADID: (Need.STORED, _thread_id),
    Att.SAVEDATE: (Need.STORED, _save_date),
    Att.PREVIEW: (Need.META | Need.PREVIEW, _preview),
    Att.PREVIEW_LAZY: (Need.FACTS, _preview),
}

# -- octets --

WHOLE = Section()
SYNONYMS: dict[Att, BodySection] = {
    Att.RFC822: BodySection(WHOLE),
    Att.RFC822_HEADER: BodySection(Section((), SectionText.HEADER), peek=True),
    Att.RFC822_TEXT: BodySection(Section((), SectionText.TEXT)),
}


def _from_meta(section: Section) -> bool:
    """Fields of the message's own header come from the pinned block, without the message (decision 11)."""
    return not section.part and section.text in FIELD_LISTS


Found = Callable[[Row], Octets | None]


def _streamed(section: Section, wanted: Partial | None) -> Found:
    find = _header_fields(section) if _from_meta(section) else _body_octets(section)

    def render(row: Row) -> Octets | None:
        octets = find(row)
        return octets.part(wanted) if octets is not None else None

    return render


def _header_fields(section: Section) -> Found:
    invert = FIELD_LISTS[section.text]

    def find(row: Row) -> Octets:
        if row.meta is None:
            raise AssertionError("Need.META brings the header")
        return _at_hand(fields_matching(row.meta.header, section.fields, invert=invert))

    return find


def _body_octets(section: Section) -> Found:
    def find(row: Row) -> Octets | None:
        body = row.body
        if body is None:
            raise AssertionError("Need.MIME brings the body")
        if section == WHOLE:
            return Octets(body, [(0, body.size)])
        found = locate(body, body.part, section)
        if found is None or isinstance(found, bytes):
            return None if found is None else _at_hand(found)
        return Octets(body, found)

    return find


def _at_hand(data: bytes) -> Octets:
    return Octets(data, [(0, len(data))])


def _label(section: Section, wanted: Partial | None) -> bytes:
    """`BODY[1.HEADER.FIELDS (From)]<0>`: the section as asked for, and where a partial answer starts."""
    text = Section(section.part, section.text).format()
    if section.fields:
        text += b" (%b)" % b" ".join([astring(name) for name in section.fields])
    return b"BODY[%b]" % text + (b"<%d>" % wanted.offset if wanted else b"")


# -- compiling --


def plan_of(session: SessionState, items: tuple[FetchItem, ...], *, by_uid: bool) -> FetchPlan:
    """The plan for these items in this session: whoever is CONDSTORE-aware hears the mod-sequence with every message's
    flags (RFC 7162 section 3.1)."""
    if session.enabled is Enabled.NOTHING:
        return plan_for(items, by_uid)
    if Att.FLAGS in items and Enabled.CONDSTORE in session.enabled:
        items = (*items, Att.MODSEQ)
    return plan_for(items, by_uid, Enabled.UIDONLY in session.enabled)


@lru_cache(maxsize=PLANS)
def plan_for(items: tuple[FetchItem, ...], by_uid: bool, uid_only: bool = False) -> FetchPlan:
    """The plan for these items; UID FETCH always answers the UID, but in UIDFETCH only if it was asked for, which
    begins with it."""
    wanted = list(dict.fromkeys(items))
    if (by_uid and not uid_only) or Att.UID in wanted:
        wanted = [Att.UID, *(item for item in wanted if item != Att.UID)]
    if Att.PREVIEW in wanted:
        wanted = [item for item in wanted if item != Att.PREVIEW_LAZY]
    inline = [found for item in wanted if (found := _inline(item)) is not None]
    streams = [_stream(item) for item in wanted if not isinstance(item, BinarySize) and item not in INLINE]
    need = Need.INDEX
    for one in (*(need_of for need_of, _ in inline), *(stream.need for stream in streams)):
        need |= one
    return FetchPlan(
        tuple(render for _, render in inline),
        tuple((stream.label, stream.find) for stream in streams),
        need,
        marks_seen=any(not stream.peek for stream in streams),
        has_flags=Att.FLAGS in wanted,
        needs_body=Need.MIME in need,
        needs_meta=Need.META in need,
        decodes=tuple(item for item in wanted if isinstance(item, (BinarySection, BinarySize))),
        uid_only=uid_only,
        form=form_of(_in_order(wanted), _item_label, uid_only=uid_only),
    )


def _in_order(wanted: list[FetchItem]) -> list[FetchItem]:
    """Small items first, as they are told."""
    small = [item for item in wanted if _inline(item) is not None]
    return [*small, *(item for item in wanted if item not in small)]


def _inline(item: FetchItem) -> tuple[Need, Inline] | None:
    """Of a small item."""
    if isinstance(item, BinarySize):
        return Need.MIME, lambda row: b"%b %d" % (binary.label(item), binary.binary_size(row, item))
    return INLINE.get(item) if isinstance(item, Att) else None


@dataclass(frozen=True, slots=True)
class _Stream:
    """An item whose octets go as a literal."""

    label: bytes
    find: Streamed
    need: Need
    peek: bool


def _stream(item: BinarySection | BodySection | Att) -> _Stream:
    if isinstance(item, BinarySection):
        return _Stream(binary.label(item), lambda row: binary.binary_octets(row, item), Need.MIME, item.peek)
    body = item if isinstance(item, BodySection) else SYNONYMS[item]
    need = Need.META if _from_meta(body.section) else Need.MIME
    return _Stream(_item_label(item), _streamed(body.section, body.partial), need, body.peek)


def _item_label(item: BodySection | Att) -> bytes:
    return _label(item.section, item.partial) if isinstance(item, BodySection) else str(item).encode()
