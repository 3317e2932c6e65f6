"""Base subjects: what a subject is about, without marks of replies, forwards and lists (RFC 5256 section 2.1).

Linear in the subject's length, whatever it holds: two bounds move towards each other and nothing is read twice.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BLANKS = re.compile(r"[ \t\r\n]+")
_BLOB = re.compile(r"\[[^\[\]]*\][ ]*")
_REFWD = re.compile(r"(?:re|fwd?)[ ]*(?:\[[^\[\]]*\][ ]*)?:", re.IGNORECASE)
_FWD_HEADER = re.compile(r"\[fwd:", re.IGNORECASE)
_TRAILER = "(fwd)"


class BaseSubject(NamedTuple):
    """`answers`: there was a mark of a reply or forward."""

    text: str
    answers: bool


def base_subject(subject: str) -> BaseSubject:
    """Of a decoded subject (encoded words and folding undone)."""
    text = _BLANKS.sub(" ", subject)
    start, end, answers = 0, len(text), False
    while True:
        end, trailed = _without_trailers(text, start, end)
        start, led = _without_leaders(text, start, end)
        answers |= trailed or led
        header = _FWD_HEADER.match(text, start, end)
        if header is None or text[end - 1] != "]":
            return BaseSubject(text[start:end], answers)
        start, end, answers = header.end(), end - 1, True


def _without_trailers(text: str, start: int, end: int) -> tuple[int, bool]:
    """subj-trailer: blanks and (fwd) at the end."""
    found = False
    while end > start:
        if text[end - 1] == " ":
            end -= 1
        elif text[max(start, end - len(_TRAILER)) : end].lower() == _TRAILER:
            end -= len(_TRAILER)
            found = True
        else:
            break
    return end, found


def _without_leaders(text: str, start: int, end: int) -> tuple[int, bool]:
    """subj-leader and subj-blob, again and again. The blobs in front are passed over together: before a mark they
    belong to it; else they go as well, but the last one where nothing is behind it."""
    found = False
    while True:
        while start < end and text[start] == " ":
            start += 1
        last = behind = start
        while blob := _BLOB.match(text, behind, end):
            last, behind = behind, blob.end()
        if mark := _REFWD.match(text, behind, end):
            start, found = mark.end(), True
        elif behind < end and behind > start:
            start = behind
        else:
            return (last if behind >= end else start), found
