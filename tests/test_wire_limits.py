"""Bounds of the grammar that a peer could grow: at the bound it is taken, one more is refused by name."""

from __future__ import annotations

import pytest

from gateway.core.errors import LimitReached
from gateway.core.limits import Limits
from gateway.wire.frame import Frame
from gateway.wire.grammar import parse

TINY = Limits(
    list_patterns=3, mailbox_name_octets=8, mailbox_depth=2, sequence_ranges=3, keywords_per_store=2, keyword_octets=4,
)  # fmt: skip


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (b'a LIST "" (a b c)', b'a LIST "" (a b c d)'),
        (b"a SELECT 12345678", b"a SELECT 123456789"),
        (b"a SELECT a/b/c", b"a SELECT a/b/c/d"),
        (b"a FETCH 1,2,3 UID", b"a FETCH 1,2,3,4 UID"),
        (b"a STORE 1 FLAGS (a b)", b"a STORE 1 FLAGS (a b c)"),
        (b"a STORE 1 FLAGS (abcd)", b"a STORE 1 FLAGS (abcde)"),
    ],
)
def test_bound(within: bytes, beyond: bytes) -> None:
    parse(Frame((within,)), TINY)
    with pytest.raises(LimitReached):
        parse(Frame((beyond,)), TINY)
