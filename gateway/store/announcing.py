"""What a writing transaction says to other nodes (`nodes.py`): nothing where there is one process only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.core.types import AccountId
from gateway.store.api import Applied
from gateway.store.db import Connection
from gateway.store.nodejobs import tell
from gateway.store.nodes import Hint, Kind, Topic
from gateway.store.rows import make_account

HELD_AT_MOST = 900  # seconds that work under way may keep others from taking in what is new in a folder
CORRECTED = 300  # UIDs in one hint: it has 8,000 octets at most


class Silent:
    """Of a store that no other process uses. `node`: this one's number, 0 for none."""

    node = 0

    def hint(self, db: Connection, hint: Hint, numbers: Sequence[int]) -> None:
        """When the transaction commits."""

    def messages(self, db: Connection, folder: int, applied: Applied) -> None:
        """What became of messages; of sizes and dates, which have no mod-sequence, only whose they are."""

    def news(
        self,
        db: Connection,
        account: AccountId,
        topic: Topic,
        texts: Iterable[str],
        now: int,
        folder: int = 0,
    ) -> None:
        """One piece of news for each text."""

    def held(self, db: Connection, folder: int, now: int) -> bool:
        """Whether some node is just putting messages into this folder: what is new there may be its own."""
        return False


class Speaking(Silent):
    """Of a node among others. An engine's session gathers `notes` and sends them with COMMIT."""

    def hint(self, db: Connection, hint: Hint, numbers: Sequence[int]) -> None:
        if self.node:
            notes: list[str] = db.notes  # type: ignore[attr-defined]
            notes.append(" ".join(f"{number:d}" for number in (hint, self.node, *numbers)))

    def messages(self, db: Connection, folder: int, applied: Applied) -> None:
        if applied.advanced:
            self.hint(db, Hint.MESSAGES, (folder, applied.modseq, kinds(applied)))
            return
        uids = [row.uid for row in applied.rows]
        for start in range(0, len(uids), CORRECTED):
            self.hint(db, Hint.MESSAGES, (folder, applied.modseq, 0, *uids[start : start + CORRECTED]))

    def news(
        self,
        db: Connection,
        account: AccountId,
        topic: Topic,
        texts: Iterable[str],
        now: int,
        folder: int = 0,
    ) -> None:
        texts = list(texts)
        if not self.node or not texts:
            return
        key = make_account(db, account)
        for text in texts:
            tell(db, key, self.node, topic, folder, text, now)
        self.hint(db, Hint.NEWS, (key,))

    def held(self, db: Connection, folder: int, now: int) -> bool:
        sql = "SELECT COUNT(*) FROM journal WHERE folder = ? AND created > ?"
        (count,) = db.execute(sql, (folder, now - HELD_AT_MOST)).fetchone()
        return self.node > 0 and count > 0


def kinds(applied: Applied) -> int:
    """What became of messages, as a sum of `Kind`s."""
    old = sum(row.modseq == applied.modseq for row in applied.rows) - applied.born
    found = {Kind.NEW: applied.born > 0, Kind.GONE: bool(applied.gone), Kind.FLAGS: old > 0}
    return sum(kind for kind, so in found.items() if so)
