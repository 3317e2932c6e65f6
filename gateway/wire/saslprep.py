"""SASLprep (RFC 4013): user names and passwords that look alike to their owners are one string.

Two programs may send the same password as other code points: composed or not, with another kind of space. Both
sides prepare it, so that the difference does not matter.
"""

from __future__ import annotations

import stringprep
from unicodedata import ucd_3_2_0

_PROHIBITED = (  # RFC 4013 section 2.3
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
    stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
    stringprep.in_table_c9,
)  # fmt: skip


def saslprep(text: str, *, stored: bool = False) -> str:
    """`text` as it is compared. ValueError for what cannot be a name or password; `stored`: also for code points
    that Unicode 3.2 does not have, which a question may hold and a stored string may not (section 2.5)."""
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    if any(forbids(char) for char in prepared for forbids in _PROHIBITED):
        raise ValueError("a character that names and passwords cannot have")
    if stored and any(map(stringprep.in_table_a1, prepared)):
        raise ValueError("a character that is not in Unicode 3.2")
    if not _has_one_direction(prepared):
        raise ValueError("letters of both directions")
    return prepared


def prepared(text: str) -> str:
    """`saslprep`, or the text itself where that is refused: an old password with odd characters goes on working."""
    try:
        return saslprep(text)
    except ValueError:
        return text


def _has_one_direction(text: str) -> bool:
    """RFC 3454 section 6: with right-to-left letters there are no left-to-right ones, and they begin and end it."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    if any(map(stringprep.in_table_d2, text)):
        return False
    return stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
