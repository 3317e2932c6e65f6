"""What SORT orders by and how THREAD joins (RFC 5256 section 3, RFC 5957)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SortKey(StrEnum):
    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"
    DISPLAYFROM = "DISPLAYFROM"  # RFC 5957
    DISPLAYTO = "DISPLAYTO"
    RELEVANCY = "RELEVANCY"  # RFC 6203


@dataclass(frozen=True, slots=True)
class Criterion:
    """One sort-criterion; REVERSE is of this key alone."""

    key: SortKey
    reverse: bool = False


class Threading(StrEnum):
    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"
