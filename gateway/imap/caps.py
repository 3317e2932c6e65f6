"""Capabilities per state: only what is whole is announced (RFC 9051 section 6.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.imap.spec import Enabled, State

ALWAYS = (b"IMAP4rev1", b"IMAP4rev2", b"SASL-IR", b"ID", b"ENABLE", b"INPROGRESS")
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
    b"NOTIFY",  # RFC 5465
    b"ESEARCH",  # RFC 4731
    b"SEARCHRES",  # RFC 5182
    b"WITHIN",  # RFC 5032
    b"SORT",  # RFC 5256
    b"SORT=DISPLAY",  # RFC 5957
    b"THREAD=ORDEREDSUBJECT",  # RFC 5256
    b"THREAD=REFERENCES",  # RFC 5256
    b"ESORT",  # RFC 5267
    b"CONTEXT=SEARCH",  # RFC 5267
    b"CONTEXT=SORT",  # RFC 5267
    b"MULTISEARCH",  # RFC 7377
    b"SEARCH=FUZZY",  # RFC 6203
    b"CREATE-SPECIAL-USE",  # RFC 6154
    b"METADATA",  # RFC 5464
    b"LIST-METADATA",  # RFC 9590
    b"UTF8=ACCEPT",  # RFC 6855
    b"OBJECTID",  # RFC 8474
    b"SAVEDATE",  # RFC 8514
    b"PREVIEW",  # RFC 8970
    b"STATUS=SIZE",  # RFC 8438
    b"PARTIAL",  # RFC 9394
    b"CONDSTORE",  # RFC 7162
    b"QRESYNC",  # RFC 7162
    b"UIDONLY",  # RFC 9586
    b"BINARY",  # RFC 3516
    b"MULTIAPPEND",  # RFC 3502
    b"REPLACE",  # RFC 8508
)
# Only of use to who is logged in, and announced to him alone.
AFTER_LOGIN = (b"UNAUTHENTICATE",)  # RFC 8437
# What ENABLE can switch on (RFC 5161), and what that brings with it.
ENABLABLE: dict[bytes, Enabled] = {
    b"IMAP4REV2": Enabled.REV2,  # RFC 9051
    b"UTF8=ACCEPT": Enabled.UTF8,  # RFC 6855
    b"CONDSTORE": Enabled.CONDSTORE,  # RFC 7162
    b"QRESYNC": Enabled.QRESYNC | Enabled.CONDSTORE,  # RFC 7162 section 3.2.3
    b"UIDONLY": Enabled.UIDONLY,  # RFC 9586
    b"METADATA": Enabled.METADATA,  # RFC 5464
}
SPELLED = {b"IMAP4REV2": b"IMAP4rev2"}  # those that are not in capitals


@dataclass(frozen=True, slots=True)
class Offer:
    """What depends on the settings and on the connection.

    `starttls`: a certificate is there; `append_limit` in octets (RFC 7889); `literal_minus`: LITERAL- instead of
    LITERAL+, never both (RFC 7888 section 5); `compress`: it can be switched on; `scram`: every user has a verifier."""

    secure: bool
    starttls: bool
    plaintext_ok: bool
    append_limit: int
    literal_minus: bool = False
    compress: bool = False
    scram: bool = False
    message_limit: int = 0  # of one command (RFC 9738); 0 = none
    quota: bool = False  # how much the mailbox may hold is known (RFC 9208)


def capabilities(state: State, offer: Offer) -> bytes:
    """The capability list."""
    words = [*ALWAYS, b"LITERAL-" if offer.literal_minus else b"LITERAL+"]
    if state is State.NOT_AUTHENTICATED:
        if offer.starttls and not offer.secure:
            words.append(b"STARTTLS")
        words.extend(_mechanisms(offer))
    else:
        words.extend(AFTER_LOGIN)
    words.extend(LOGGED_IN)
    if offer.quota:
        words.extend((b"QUOTA", b"QUOTA=RES-STORAGE"))
    if offer.compress:
        words.append(b"COMPRESS=DEFLATE")
    words.append(b"APPENDLIMIT=%d" % offer.append_limit)
    if offer.message_limit:
        words.append(b"MESSAGELIMIT=%d" % offer.message_limit)
    return b" ".join(words)


def _mechanisms(offer: Offer) -> tuple[bytes, ...]:
    """SCRAM does not show a password, yet without TLS nothing protects what follows it."""
    if not (offer.secure or offer.plaintext_ok):
        return (b"LOGINDISABLED",)
    return (b"AUTH=SCRAM-SHA-256", *MECHANISMS) if offer.scram else MECHANISMS
