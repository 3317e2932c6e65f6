"""How well a message fits a FUZZY search (RFC 6203 section 4): a number above 0 and up to 1.

The strings below FUZZY give it, those below NOT excepted: together (AND) their mean, as alternatives (OR) the best.
The subject counts more than another field, a field more than the body (`mailbox.fuzzy`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.mailbox.fuzzy import BODY, BY_INDEX, FIELD
from gateway.mailbox.needles import Finder, Mode, Needle, Seen, field_fit, header_of
from gateway.mailbox.values import Row
from gateway.mime.text import casefold_text, header_text
from gateway.wire.searchkey import And, Contains, Field, Fuzzy, HeaderContains, Or, SearchKey

Fit = Callable[[Row, Seen], float | None]  # None: nothing to say of this row

FUZZY = Mode(fuzzy=True)


def fit_of(finder: Finder, key: SearchKey, *, fuzzy: bool = False) -> Fit | None:
    """None: no string of this key is below FUZZY."""
    match key:
        case Fuzzy(inner):
            return fit_of(finder, inner, fuzzy=True)
        case And(keys):
            return _joined([fit_of(finder, inner, fuzzy=fuzzy) for inner in keys], _mean)
        case Or(left, right):
            return _joined([fit_of(finder, inner, fuzzy=fuzzy) for inner in (left, right)], max)
        case Contains(field, text) if fuzzy:
            return _LEAVES.get(field, _field)(finder, field, Needle.of(text, FUZZY))
        case HeaderContains(name, text) if fuzzy:
            needle = Needle.of(text, FUZZY)
            return lambda row, seen: field_fit(row, name.lower(), needle)
    return None


def _joined(fits: list[Fit | None], join: Callable[[list[float]], float]) -> Fit | None:
    known = [fit for fit in fits if fit is not None]
    if not known:
        return None

    def joined(row: Row, seen: Seen) -> float | None:
        found = [value for fit in known if (value := fit(row, seen)) is not None]
        return join(found) if found else None

    return joined


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _field(finder: Finder, field: Field, needle: Needle) -> Fit:
    name = field.value.lower().encode()
    return lambda row, seen: field_fit(row, name, needle)


def _body(finder: Finder, field: Field, needle: Needle) -> Fit:
    def fit(row: Row, seen: Seen) -> float | None:
        found = finder.fit(row, seen, needle)
        if found is not None:
            return BODY * found
        return BY_INDEX if seen.hits is not None and row.uid in seen.hits.get(needle, ()) else None

    return fit


def _text(finder: Finder, field: Field, needle: Needle) -> Fit:
    in_body = _body(finder, field, needle)

    def fit(row: Row, seen: Seen) -> float | None:
        header = header_of(row)
        in_header = 0.0 if header is None else FIELD * needle.fit(casefold_text(header_text(header)))
        return max(field_fit(row, b"subject", needle) or 0.0, in_header, in_body(row, seen) or 0.0)

    return fit


_LEAVES: dict[Field, Callable[[Finder, Field, Needle], Fit]] = {Field.BODY: _body, Field.TEXT: _text}
