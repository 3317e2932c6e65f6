"""What must be true: an account of every message by its token, written down apart from what the gateway does.

Each message has a token in its Subject. A token belongs to one client (only that one changes it) or to "Outlook", so
what a client was told OK about its own tokens holds until it changes them itself, whatever others do beside it.
A token stands at most once in a mailbox but the trash; in several mailboxes by COPY.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.soak.talk import View, WrongError

INBOX, FILED, COPIES, ARCHIVE, TRASH, SENT = (
    "INBOX",
    "Filed",
    "Copies",
    "Archive",
    "Deleted Items",
    "Sent Items",
)
Flags = frozenset[str]


@dataclass
class Sight:
    """What a whole look at a mailbox has shown."""

    name: str
    tokens: dict[int, str]
    flags: dict[str, Flags]
    every: Counter[tuple[str, Flags]] = field(default_factory=Counter)  # in the trash a token may stand twice

    @property
    def uids(self) -> dict[str, int]:
        return {token: uid for uid, token in self.tokens.items()}


@dataclass
class Seen:
    """What was ever told of one mailbox, by its UIDVALIDITY."""

    tokens: dict[int, str] = field(default_factory=dict)  # by UID
    digests: dict[int, bytes] = field(default_factory=dict)  # of BODY[], by UID
    horizon: int = 0  # every UID below was told, or is gone for ever, from `since` on
    since: float = 0.0


@dataclass
class Book:
    """Of one account."""

    user: str
    owner: dict[str, str] = field(default_factory=dict)
    at: dict[str, dict[str, Flags]] = field(
        default_factory=dict
    )  # token -> mailbox -> flags, as acknowledged
    expunged: Counter[str] = field(default_factory=Counter)  # copies that were removed, by token
    originals: dict[str, bytes] = field(default_factory=dict)  # what was appended
    unsure: set[str] = field(default_factory=set)  # tokens that a lost connection leaves in doubt
    answered: set[str] = field(default_factory=set)  # tokens of Outlook's that a client has marked
    validity: dict[str, int] = field(default_factory=dict)
    seen: dict[int, Seen] = field(default_factory=dict)
    promises: int = 0

    # -- what was acknowledged --

    def mine(self, owner: str, mailbox: str) -> list[str]:
        return sorted(t for t, places in self.at.items() if mailbox in places and self.owner[t] == owner)

    def landed(self, token: str, owner: str, mailbox: str, flags: Flags) -> None:
        self.owner[token] = owner
        self.at.setdefault(token, {})[mailbox] = flags

    def flagged(self, tokens: Iterable[str], mailbox: str, flags: Flags, *, on: bool) -> None:
        for token in tokens:
            before = self.at[token][mailbox]
            self.at[token][mailbox] = before | flags if on else before - flags

    def copied(self, tokens: Iterable[str], source: str, target: str) -> None:
        for token in tokens:
            self.at[token][target] = self.at[token][source]

    def moved(self, tokens: Iterable[str], source: str, target: str) -> None:
        for token in tokens:
            self.at[token][target] = self.at[token].pop(source)

    def removed(self, tokens: Iterable[str], mailbox: str) -> None:
        for token in tokens:
            del self.at[token][mailbox]
            self.expunged[token] += 1

    # -- what was told --

    def told(self, validity: int, uid: int, token: str) -> None:
        """A UID is of one message for ever."""
        self.promises += 1
        known = self.seen.setdefault(validity, Seen()).tokens.setdefault(uid, token)
        if known != token:
            raise WrongError(f"UID {uid} of {validity} was {known}, is {token}")

    def octets(self, validity: int, uid: int, digest: bytes) -> None:
        """The octets of a UID are the same for ever."""
        if self.seen.setdefault(validity, Seen()).digests.setdefault(uid, digest) != digest:
            raise WrongError(f"UID {uid} of {validity} came back with other octets")

    def selected(self, view: View) -> None:
        if view.name.startswith("Box"):
            return
        if self.validity.setdefault(view.name, view.validity) != view.validity:
            raise WrongError(f"{view.name}: UIDVALIDITY {view.validity}, was {self.validity[view.name]}")

    def looked(self, view: View, sight: Sight, now: float) -> None:
        """A look at the whole mailbox: no UID below the horizon of an earlier one may turn up afresh."""
        seen = self.seen.setdefault(view.validity, Seen())
        for uid, token in sight.tokens.items():
            if uid not in seen.tokens and uid < seen.horizon and view.opened > seen.since:
                raise WrongError(
                    f"{view.name}: {token} has UID {uid}, below UIDNEXT {seen.horizon} of a look before"
                )
            self.told(view.validity, uid, token)
        if view.following > seen.horizon:
            seen.horizon, seen.since = view.following, now

    def compare(self, owner: str, sight: Sight) -> None:
        """A look by the owner: exactly what was acknowledged."""
        sure = [token for token in self.mine(owner, sight.name) if token not in self.unsure]
        expected = {token: self.at[token][sight.name] for token in sure}
        found = {
            token: flags
            for token, flags in sight.flags.items()
            if self.owner.get(token) == owner and token not in self.unsure
        }
        if expected != found:
            raise WrongError(f"{self.user} {sight.name}: {difference(expected, found)}")


def difference(expected: dict[str, Flags], found: dict[str, Flags]) -> str:
    lost, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    other = [
        (t, sorted(expected[t]), sorted(found[t]))
        for t in expected.keys() & found.keys()
        if expected[t] != found[t]
    ]
    return f"missing {lost[:5]}, not expected {extra[:5]}, flags expected and found {sorted(other)[:5]}"
