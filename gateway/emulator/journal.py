"""The log of Graph calls that tests count requests with: bounded, in the order of arrival.

Shape (fixed): {"requests":[{"t","method","path","status","bytes_in","bytes_out","in_flight",
"inner":[{"method","url","status"}]}],"max_in_flight":n}, and no key more. `t` is seconds since 1970;
`path` has the version and the query and is percent-decoded; `status` 0 = no answer (yet, or for good); `in_flight` and
`max_in_flight` count the calls of one application to one mailbox, refused ones included.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

CAPACITY = 100_000


@dataclass(slots=True)
class Entry:
    """One HTTP request to Graph; `inner` is filled for `$batch`."""

    t: float
    method: str
    path: str
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    in_flight: int = 0
    inner: list[tuple[str, str, int]] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return {
            "t": self.t,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "in_flight": self.in_flight,
            "inner": [{"method": m, "url": u, "status": s} for m, u, s in self.inner],
        }


class Journal:
    """The last `capacity` requests; older ones are forgotten."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._entries: deque[Entry] = deque(maxlen=capacity)
        self.max_in_flight = 0

    def open(self, entry: Entry) -> Entry:
        self._entries.append(entry)
        return entry

    def saw(self, entry: Entry, in_flight: int) -> None:
        """Note how many calls were in flight with this one."""
        entry.in_flight = max(entry.in_flight, in_flight)
        self.max_in_flight = max(self.max_in_flight, in_flight)

    def clear(self) -> None:
        self._entries.clear()
        self.max_in_flight = 0

    def as_json(self) -> dict[str, object]:
        return {
            "requests": [entry.as_json() for entry in self._entries],
            "max_in_flight": self.max_in_flight,
        }
