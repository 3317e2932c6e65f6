"""Hand-made messages of every shape seen in real mail, shared by the emulator and the tests.

`messages()` is the index. All samples have CRLF line ends, as Exchange delivers them, unless the tag `raw`
says that the bytes make sense only as input of a parser. `huge` marks those of more than 10 MB.
"""

from __future__ import annotations

import functools

from gateway.emulator.corpus import charsets, headers, special, structure
from gateway.emulator.corpus.build import Sample

__all__ = ["Sample", "deliverable", "messages"]


@functools.cache
def _all() -> tuple[Sample, ...]:
    return tuple(s for module in (structure, charsets, headers, special) for s in module.samples())


def messages() -> list[Sample]:
    """Every sample, always in the same order; names are unique."""
    return list(_all())


def deliverable() -> list[Sample]:
    """The samples Exchange could hold: all but the `raw` ones."""
    return [s for s in _all() if "raw" not in s.tags]
