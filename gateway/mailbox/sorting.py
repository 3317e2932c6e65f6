"""SORT's order (RFC 5256 section 3, RFC 5957): columns of keys, one stable sort for each criterion, the last first.

Messages that no criterion tells apart stay in the order of their numbers, under REVERSE as well: that order is no
criterion the client gave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.mailbox.sortcolumns import UNKNOWN_DATE, SortColumns
from gateway.wire.sortkey import Criterion, SortKey

_TEXTS: dict[SortKey, str] = {
    SortKey.SUBJECT: "subject",
    SortKey.FROM: "sender",
    SortKey.TO: "to",
    SortKey.CC: "cc",
    SortKey.DISPLAYFROM: "shown_sender",
    SortKey.DISPLAYTO: "shown_to",
}
FROM_HEADERS = frozenset((*_TEXTS, SortKey.DATE))  # the others are known without any header


def text_column(columns: SortColumns, key: SortKey, rows: Sequence[int]) -> Sequence[str]:
    texts = columns.texts[_TEXTS[key]]
    return [texts[row] for row in rows]


def sent_dates(columns: SortColumns, rows: Sequence[int], arrivals: Sequence[int]) -> list[int]:
    """Date: in UTC, or INTERNALDATE where there is no date that can be read (RFC 5256 section 2.2)."""
    dates = columns.dates
    return [
        arrival if (date := dates[row]) == UNKNOWN_DATE else date
        for row, arrival in zip(rows, arrivals, strict=True)
    ]


def in_order(
    count: int, criteria: Sequence[Criterion], column: Callable[[SortKey], Sequence[Any]]
) -> list[int]:
    """0..count-1 sorted; `column` has a key's values, one for each."""
    order = list(range(count))
    for criterion in reversed(_useful(criteria)):
        order.sort(key=column(criterion.key).__getitem__, reverse=criterion.reverse)
    return order


def _useful(criteria: Sequence[Criterion]) -> list[Criterion]:
    """A key named again sorts nothing that it has not sorted."""
    first: dict[SortKey, Criterion] = {}
    for criterion in criteria:
        first.setdefault(criterion.key, criterion)
    return list(first.values())
