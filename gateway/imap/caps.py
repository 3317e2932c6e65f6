"""Capabilities per state: only what is whole is announced (RFC 9051 section 6.1.1)."""

from __future__ import annotations

from gateway.imap.spec import Enabled, State
from gateway.wire.fetchatt import Att

# Literals: LITERAL+ alone, never LITERAL- beside it (RFC 7888 section 5 forbids announcing both).
ALWAYS = (b"IMAP4rev1", b"LITERAL+", b"SASL-IR", b"ID", b"ENABLE")
MECHANISMS = (b"AUTH=PLAIN", b"AUTH=LOGIN")
LOGGED_IN = (
    b"IDLE",  # RFC 2177
    b"NAMESPACE",  # RFC 2342
    b"UIDPLUS",  # RFC 4315
    b"MOVE",  # RFC 6851
    b"UNSELECT",  # RFC 3691
    b"CHILDREN",  # RFC 3348
    b"SPECIAL-USE",  # RFC 6154
    b"LIST-EXTENDED",  # RFC 5258
    b"LIST-STATUS",  # RFC 5819
    b"ESEARCH",  # RFC 4731
)
# What ENABLE can switch on (RFC 5161), and what that brings with it.
ENABLABLE: dict[bytes, Enabled] = {}

# FETCH attributes of extensions that are not announced: BAD, like any unknown attribute.
UNANNOUNCED_ATTS = frozenset({Att.MODSEQ, Att.EMAILID, Att.THREADID, Att.SAVEDATE, Att.PREVIEW})


def capabilities(
    state: State, *, secure: bool, starttls: bool, plaintext_ok: bool, append_limit: int
) -> bytes:
    """The capability list. `starttls`: a certificate is there; `append_limit` in octets (RFC 7889)."""
    words = list(ALWAYS)
    if state is State.NOT_AUTHENTICATED:
        if starttls and not secure:
            words.append(b"STARTTLS")
        words.extend(MECHANISMS if secure or plaintext_ok else (b"LOGINDISABLED",))
    words.extend(LOGGED_IN)
    words.append(b"APPENDLIMIT=%d" % append_limit)
    return b" ".join(words)
