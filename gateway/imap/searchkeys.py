"""What a search key says beyond its own terms: `$`, mod-sequences, what must stay as it is while a search is kept up to
date. Trees are as deep as the grammar's bound allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.core.runs import LastResult, Runs
from gateway.wire.searchkey import And, Fuzzy, HasFlag, ModSeqIs, Not, Or, SearchKey, SeqSet, UidSet, Within


def leaves(key: SearchKey) -> Iterator[SearchKey]:
    if isinstance(key, And):
        for inner in key.keys:
            yield from leaves(inner)
    elif isinstance(key, Or):
        yield from leaves(key.left)
        yield from leaves(key.right)
    elif isinstance(key, Not | Fuzzy):
        yield from leaves(key.key)
    else:
        yield key


def names_last_result(key: SearchKey) -> bool:
    return any(isinstance(leaf, SeqSet | UidSet) and isinstance(leaf.ids, LastResult) for leaf in leaves(key))


def names_modseq(key: SearchKey) -> bool:
    return any(isinstance(leaf, ModSeqIs) for leaf in leaves(key))


def names_messages(key: SearchKey) -> bool:
    """By number, by UID or as `$`: that means something in one mailbox only (RFC 7377 section 2.1)."""
    return any(isinstance(leaf, SeqSet | UidSet) for leaf in leaves(key))


def reads_flags(key: SearchKey) -> bool:
    """Whether what it finds depends on what may change of a message."""
    return any(isinstance(leaf, HasFlag | ModSeqIs) for leaf in leaves(key))


def moves_by_itself(key: SearchKey) -> bool:
    """Whether what it finds changes though no message does: with time, with the numbers, or as FUZZY likes it."""
    return names_fuzzy(key) or any(isinstance(leaf, Within | SeqSet) for leaf in leaves(key))


def names_fuzzy(key: SearchKey) -> bool:
    match key:
        case And(keys):
            return any(map(names_fuzzy, keys))
        case Or(left, right):
            return names_fuzzy(left) or names_fuzzy(right)
        case Not(inner):
            return names_fuzzy(inner)
    return isinstance(key, Fuzzy)


def with_saved(key: SearchKey, saved: Callable[[], Runs]) -> SearchKey:
    """The key with the messages `$` stands for now; the same one if it has no `$`."""
    return _put(key, saved()) if names_last_result(key) else key


def _put(key: SearchKey, saved: Runs) -> SearchKey:
    match key:
        case And(keys):
            return And(tuple(_put(inner, saved) for inner in keys))
        case Or(left, right):
            return Or(_put(left, saved), _put(right, saved))
        case Not(inner):
            return Not(_put(inner, saved))
        case Fuzzy(inner):
            return Fuzzy(_put(inner, saved))
        case SeqSet(LastResult()) | UidSet(LastResult()):
            return UidSet(saved)
    return key
