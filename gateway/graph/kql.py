"""KQL for `$search`: what the index can be asked of a person's text (contract section 4, trap 35).

Only words leave this file: runs of letters, marks and digits. No operator, quote, bracket, wildcard or property name
that the text holds can reach the query; a word behind its property name is never read as AND, OR or NOT. The index
knows words from their beginning, so every word is asked for as a beginning: what holds the text at a word's beginning
is found, what holds it inside a word is not (nothing can be asked that finds it).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import date
from itertools import groupby

BODY = ("body", "attachment")  # properties that cover what SEARCH BODY looks at
WORDS = 12  # of one text: the longest; the address has a length (contract section 6.3)
WORD_OCTETS = 60  # of UTF-8; the beginning of a longer word


def words(text: str) -> list[str]:
    """The words to ask for, longest first: none where the text has only signs. Single letters are left out beside
    longer words: as beginnings they are in every message."""
    normal = unicodedata.normalize("NFC", text)
    runs = ("".join(run) for wordly, run in groupby(normal, key=_in_word) if wordly)
    cut = {word.encode("utf-8", "ignore")[:WORD_OCTETS].decode("utf-8", "ignore").lower() for word in runs}
    ordered = sorted(cut - {""}, key=lambda word: (-len(word), word))
    return [word for word in ordered if len(word) > 1][:WORDS] or ordered[:1]


def _in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def containing(text: str, properties: Sequence[str] = BODY) -> str | None:
    """Items where every word of the text begins a word of one of the properties; None if it has no words."""
    clauses = [" OR ".join(f"{name}:{word}*" for name in properties) for word in words(text)]
    return " AND ".join(f"({clause})" for clause in clauses) or None


def received(query: str, first: date, last: date) -> str:
    """`query` among what was received from `first` to `last`, both days included."""
    return f"({query}) AND received:{first.isoformat()}..{last.isoformat()}"


def quoted(query: str) -> str:
    """The value of `$search`."""
    return '"' + query.replace("\\", "\\\\").replace('"', '\\"') + '"'
