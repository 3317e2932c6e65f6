"""Every Graph error in the words of the front ends: one table for IMAP's refusals, one for SMTP's replies.

Texts are safe to show: fixed here, never taken from an answer (contract section 2; architecture section 10).
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.errors import (
    CannotDo,
    Expired,
    GatewayError,
    InUse,
    LimitReached,
    MailboxExists,
    NoPermission,
    NoSuchMailbox,
    OverQuota,
    SubmissionRefused,
    TooBig,
    Unavailable,
)
from gateway.graph.errors import (
    AlreadyExists,
    BadId,
    BadMime,
    BadRecipients,
    Conflict,
    Denied,
    GraphError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    PermanentFailure,
    QuotaExceeded,
    ResyncNeeded,
    SendLimit,
    SignInFailed,
    Throttled,
    TooLarge,
    Unreachable,
    UploadRefused,
)

_FOLDER_CODES = {"errorfoldernotfound", "errorsyncfoldernotfound", "errorparentfoldernotfound"}

REFUSALS: dict[type[GraphError], tuple[Callable[[str], GatewayError], str]] = {
    NotFound: (Expired, "Some of the messages no longer exist"),
    Conflict: (InUse, "Changed by somebody else at the same time, try again"),
    AlreadyExists: (MailboxExists, "A mailbox of that name exists"),
    Denied: (NoPermission, "Exchange denies access"),
    QuotaExceeded: (OverQuota, "The mailbox is full"),
    SendLimit: (LimitReached, "A sending limit of Exchange is reached"),
    TooLarge: (TooBig, "Exchange refuses a message of this size"),
    UploadRefused: (
        TooBig,
        "Exchange lets a delegated sign-in attach nothing of 3 MB or more in a shared mailbox",
    ),
    Invalid: (CannotDo, "Exchange does not accept this"),
    BadRecipients: (CannotDo, "Exchange does not accept the recipients"),
    BadMime: (CannotDo, "Exchange cannot read this message"),
    BadId: (Expired, "Exchange does not know this message"),
    ResyncNeeded: (Unavailable, "The mailbox is being read anew, try again"),
    PermanentFailure: (CannotDo, "Exchange cannot convert this message"),
    SignInFailed: (Unavailable, "The gateway cannot sign in to the mailbox"),
    Throttled: (LimitReached, "Too many requests to the mailbox, try again later"),
    Unreachable: (Unavailable, "Exchange does not answer, try again"),
    OutcomeUnknown: (Unavailable, "Exchange did not say whether it was done, try again"),
    GraphError: (Unavailable, "Exchange does not answer, try again"),
}

# RFC 5321 reply code, RFC 3463 enhanced status code, text.
Reply = tuple[int, str, str]
SUBMISSION_REPLIES: dict[type[GraphError], Reply] = {
    NotFound: (451, "4.3.0", "The mailbox is not available"),
    Conflict: (451, "4.3.0", "The mailbox is busy, try again"),
    AlreadyExists: (451, "4.3.0", "The mailbox is busy, try again"),
    Denied: (550, "5.7.60", "No permission to send as this sender"),
    QuotaExceeded: (452, "4.2.2", "The mailbox is full"),
    SendLimit: (452, "4.5.3", "A sending limit of Exchange is reached, try again later"),
    TooLarge: (552, "5.3.4", "Message too big for Exchange"),
    UploadRefused: (
        552,
        "5.3.4",
        "Exchange lets a delegated sign-in attach nothing of 3 MB or more in a shared mailbox",
    ),
    Invalid: (554, "5.6.0", "Exchange does not accept this message"),
    BadRecipients: (550, "5.1.3", "Exchange does not accept the recipients"),
    BadMime: (554, "5.6.0", "Exchange cannot read this message"),
    BadId: (554, "5.6.0", "Exchange does not accept this message"),
    ResyncNeeded: (451, "4.3.0", "The mailbox is busy, try again"),
    PermanentFailure: (554, "5.3.0", "Exchange cannot process this message"),
    SignInFailed: (535, "5.7.8", "The gateway cannot sign in to the mailbox"),
    Throttled: (451, "4.3.2", "Too many requests to the mailbox, try again later"),
    Unreachable: (451, "4.4.1", "Exchange does not answer, try again later"),
    OutcomeUnknown: (451, "4.4.2", "Exchange did not say whether it took the message, try again later"),
    GraphError: (451, "4.4.1", "Exchange does not answer, try again later"),
}


def refusal(error: GraphError) -> GatewayError:
    """What an IMAP front end answers. The caller raises it `from error`."""
    if _is_folder_gone(error):
        return NoSuchMailbox("The mailbox no longer exists")
    make, text = REFUSALS[_kind(error)]
    if make is Unavailable:
        return Unavailable(text, error.retry_after)
    return make(text)


def is_message_gone(result: object) -> bool:
    """Whether an answer says that the message itself is not there: a 404 of a COPY or MOVE may be the target's."""
    return isinstance(result, NotFound) and not _is_folder_gone(result)


def _is_folder_gone(error: GraphError) -> bool:
    return isinstance(error, NotFound) and error.code.lower() in _FOLDER_CODES


def submission_refusal(error: GraphError) -> SubmissionRefused:
    """What an SMTP front end answers."""
    if (
        isinstance(error, SignInFailed) and error.status
    ):  # Graph's own 401 again and again, not a refused sign-in
        return SubmissionRefused(
            451, "4.7.0", "Exchange does not accept the gateway's sign-in now, try again later"
        )
    status, enhanced, text = SUBMISSION_REPLIES[_kind(error)]
    return SubmissionRefused(status, enhanced, text)


def _kind(error: GraphError) -> type[GraphError]:
    """The nearest class that has a row."""
    return next(kind for kind in type(error).__mro__ if kind in REFUSALS)
