"""What can go wrong, in the words of the front ends. Each front end has one table from these to its replies.

```
GatewayError
├── BadCommand            syntax: IMAP BAD, SMTP 501
├── Refused               a correct command that cannot be done; `code` is the IMAP response code
│   ├── NoSuchMailbox     [NONEXISTENT] / [TRYCREATE]
│   ├── NoSuchMessage     [NONEXISTENT]
│   ├── MailboxExists     [ALREADYEXISTS]
│   ├── CannotDo          [CANNOT]
│   ├── UnknownEncoding   [UNKNOWN-CTE]
│   ├── HasChildren       [HASCHILDREN]
│   ├── NoPermission      [NOPERM]
│   ├── OverQuota         [OVERQUOTA]
│   ├── TooBig            [TOOBIG]
│   ├── TooManyAnnotations, AnnotationTooBig   [METADATA ...]
│   ├── UseRefused        [USEATTR]
│   ├── BadEvent, NotificationOverflow   [BADEVENT (...)], [NOTIFICATIONOVERFLOW]
│   ├── LimitReached      [LIMIT]
│   ├── InUse             [INUSE]
│   └── Expired           [EXPUNGEISSUED] or stale data
├── Unavailable           [UNAVAILABLE] / 451: the backend does not answer; the session lives
├── AuthenticationFailed  [AUTHENTICATIONFAILED] / 535
└── SubmissionRefused     an SMTP reply chosen below the SMTP floor
```
"""

from __future__ import annotations

from collections.abc import Sequence


class GatewayError(Exception):
    """Base. `str(error)` is safe to show to a client: it names no secret, no content, no internals."""

    code: bytes = b""


class BadCommand(GatewayError):
    """The peer's input does not follow the grammar."""

    def __init__(self, text: str, code: bytes = b"") -> None:
        super().__init__(text)
        self.code = code


class Refused(GatewayError):
    """A correct request that cannot be done."""

    code = b""


class NoSuchMailbox(Refused):
    code = b"NONEXISTENT"


class NoSuchMessage(Refused):
    code = b"NONEXISTENT"


class MailboxExists(Refused):
    code = b"ALREADYEXISTS"


class CannotDo(Refused):
    code = b"CANNOT"


class UnknownEncoding(Refused):
    code = b"UNKNOWN-CTE"  # RFC 3516 section 4.3


class HasChildren(Refused):
    code = b"HASCHILDREN"


class NoPermission(Refused):
    code = b"NOPERM"


class OverQuota(Refused):
    code = b"OVERQUOTA"


class TooBig(Refused):
    code = b"TOOBIG"


class TooManyAnnotations(Refused):
    """RFC 5464 section 4.3."""

    code = b"METADATA TOOMANY"


class AnnotationTooBig(Refused):
    """RFC 5464 section 4.3; `most` octets are accepted."""

    def __init__(self, most: int) -> None:
        super().__init__(f"A value has at most {most} octets")
        self.code = b"METADATA MAXSIZE %d" % most


class UseRefused(Refused):
    """RFC 6154 section 3."""

    code = b"USEATTR"


class BadEvent(Refused):
    """RFC 5465 section 3.1; `known`: the events there are."""

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__("Events of this kind are not known here")
        self.code = b"BADEVENT (%b)" % " ".join(known).encode()


class NotificationOverflow(Refused):
    """RFC 5465 section 3.1."""

    code = b"NOTIFICATIONOVERFLOW"


class LimitReached(Refused):
    code = b"LIMIT"


class InUse(Refused):
    code = b"INUSE"


class Expired(Refused):
    code = b"EXPUNGEISSUED"


class Unavailable(GatewayError):
    """The backend cannot answer now; `retry_after` in seconds where known."""

    code = b"UNAVAILABLE"

    def __init__(self, text: str = "Backend not available, try again", retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class AuthenticationFailed(GatewayError):
    code = b"AUTHENTICATIONFAILED"


class SubmissionRefused(GatewayError):
    """A submission that was not accepted: `status` and `enhanced` as in RFC 5321 and RFC 3463."""

    def __init__(self, status: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.enhanced = enhanced
