"""What of a message is meant (the inside of BODY[...], RFC 9051 section 6.4.5.1), and where its octets are.

Interface: `Section` is complete; `locate` is to be implemented.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SectionText(StrEnum):
    """What of a part is meant; FULL is the part's body (BODY[1.2]) or the whole message (BODY[])."""

    FULL = ""
    HEADER = "HEADER"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


@dataclass(frozen=True, slots=True)
class Section:
    """Part numbers, what of the part, and header field names as sent (order kept)."""

    part: tuple[int, ...] = ()
    text: SectionText = SectionText.FULL
    fields: tuple[bytes, ...] = ()

    def format(self) -> bytes:
        """As it is echoed in the answer, without the brackets: `1.2.HEADER.FIELDS (From To)`."""
        number = b".".join(b"%d" % n for n in self.part)
        text = self.text.value.encode()
        pieces = b".".join(piece for piece in (number, text) if piece)
        if not self.fields:
            return pieces
        return pieces + b" (" + b" ".join(self.fields) + b")"
