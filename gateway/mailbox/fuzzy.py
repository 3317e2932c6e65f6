"""FUZZY: words instead of strings (RFC 6203 sections 3 to 5), and how well they fit.

A text fits if every word of the key begins a word of it, whatever the case, accents and order. Keys that are not about
strings (flags, dates, sizes, sets) mean under FUZZY what they mean without it, which section 5 allows.

A fit is a number above 0 and up to 1: a whole word counts more than a beginning, the subject more than another field,
a field more than the body. `scores` stretches the fits of one answer to 1..100 (section 4).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.mime.text import casefold_text

WHOLE, BEGINNING = 1.0, 0.6  # of a word
FIELD, BODY = 0.8, 0.5  # where it is found, the subject being 1
BY_INDEX = 0.4  # found by Graph's index; nobody has looked where
WORDS = 50  # of one key
_MARKS = re.compile("[\u0300-\u036f]+")
_WORD = re.compile(r"[^\W_]+")


def bare(folded: str) -> str:
    """A text that `casefold_text` made, without accents; `ß` is `SS`."""
    return folded if folded.isascii() else _MARKS.sub("", folded).replace("ß", "SS")


@dataclass(frozen=True, slots=True)
class Words:
    """What one FUZZY string asks for."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Words:
        found = _WORD.findall(bare(casefold_text(text)))
        return cls(tuple(dict.fromkeys(found))[:WORDS])

    def fit(self, folded: str) -> float:
        """0 if a word is missing. No words fit everything."""
        text = bare(folded)
        fits = [_fit(word, text) for word in self.words]
        return 0.0 if 0.0 in fits else sum(fits) / len(fits) if fits else WHOLE


def _fit(word: str, text: str) -> float:
    """Linear: a word holds letters and digits only, so none of its places that begin inside another begins a word."""
    best, at = 0.0, text.find(word)
    while at >= 0:
        end = at + len(word)
        if not at or not text[at - 1].isalnum():
            if end == len(text) or not text[end].isalnum():
                return WHOLE
            best = BEGINNING
        at = text.find(word, end)
    return best


def scores(fits: Sequence[float]) -> list[int]:
    """1 to 100, the best being 100."""
    best = max(fits, default=0.0)
    return [max(1, round(100 * fit / best)) if best else 100 for fit in fits]
