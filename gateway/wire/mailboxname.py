"""Mailbox names as commands bring them: one text for all spellings of one mailbox.

A name is Net-Unicode (RFC 9051 section 5.1, RFC 5198 section 2): Normalization Form C. A name in another form is taken
in every command and means the same mailbox; what the client wrote is kept beside it, so that LIST with OLDNAME can
tell him (RFC 9051 section 6.3.9.7). Modified UTF-7 and UTF-8 have been decoded before.
"""

from __future__ import annotations

import unicodedata

DELIMITER = "/"
INBOX = "INBOX"


def normal(text: str) -> str:
    """`text` in Normalization Form C; a no-op for almost every name there is."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def canonical(text: str) -> str:
    """INBOX in upper case, alone and as the first level (RFC 9051 section 5.1); any form but the wire's."""
    first, delimiter, rest = text.partition(DELIMITER)
    return f"{INBOX}{delimiter}{rest}" if first.upper() == INBOX and first.isascii() else text


class MailboxName(str):
    """A normal, canonical name. `supplied` differs from it only where the client's was not in Form C."""

    __slots__ = ("supplied",)
    supplied: str

    @classmethod
    def of(cls, text: str) -> MailboxName:
        """From decoded text as the client wrote it."""
        supplied = canonical(text)
        name = cls(normal(supplied))
        name.supplied = supplied
        return name

    def without_last_delimiter(self) -> MailboxName:
        """`a/` of a CREATE is `a`; a lone delimiter stays."""
        return MailboxName.of(self.supplied[:-1]) if len(self) > 1 and self.endswith(DELIMITER) else self


def supplied(name: str) -> str:
    """What the client wrote for `name`; the name itself where it came from elsewhere."""
    return getattr(name, "supplied", name)
