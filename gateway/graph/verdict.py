"""What an answer means for the call that asked: done, again, or which error. Two tables, no text (contract section 2).

Invariant 10 decides: 401 and 429 were refused before anything was done, so every verb may be repeated; an
answer that leaves the effect open (a lost connection, most of 5xx, a 2xx that is not the promised one) lets
only repeatable requests go again, all others are OutcomeUnknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
)
from gateway.graph.request import UNREADABLE, Request, Response, decode

# Codes decide before statuses: their statuses differ from report to report.
BY_CODE: dict[str, type[GraphError]] = {
    "errorinvalididmalformed": BadId,
    "errormimecontentinvalidbase64string": BadMime,
    "errormimecontentinvalid": BadMime,
    "errorinvalidrecipients": BadRecipients,
    "errorinvalidchangekey": Conflict,
    "errorirresolvableconflict": Conflict,
    "errormessagesizeexceeded": TooLarge,
    "requestentitytoolarge": TooLarge,
    "errorquotaexceeded": QuotaExceeded,
    "errorexceededmessagelimit": SendLimit,
    "errorexceededmaxrecipientlimit": SendLimit,
    "errorexceededhourlymessagelimit": SendLimit,
    "erroritemnotfound": NotFound,
    "errorfoldernotfound": NotFound,
    "errorsyncfoldernotfound": NotFound,
    "errorparentfoldernotfound": NotFound,
    "errorfolderexists": AlreadyExists,
    "syncstatenotfound": ResyncNeeded,
    "syncstateinvalid": ResyncNeeded,
    "resyncrequired": ResyncNeeded,
    "erroraccessdenied": Denied,
    "errorsendasdenied": Denied,
    "authorization_requestdenied": Denied,
    "errordeletedistinguishedfolder": Denied,
    # The mailbox as a whole is not there: not NotFound, which would mean that the item is gone.
    "errorinvaliduser": Denied,
    "resourcenotfound": Denied,
    "request_resourcenotfound": Denied,
    "mailboxnotenabledforrestapi": Denied,
    "applicationthrottled": Throttled,
    "toomanyrequests": Throttled,
    "activitylimitreached": Throttled,
    "authenticationerror": SignInFailed,
    "invalidauthenticationtoken": SignInFailed,
    "errormimecontentconversionfailed": PermanentFailure,
    "errorcorruptdata": PermanentFailure,
    "errorcannotopenfileattachment": PermanentFailure,
}
BY_STATUS: dict[int, type[GraphError]] = {
    401: SignInFailed,
    403: Denied,
    404: NotFound,
    409: Conflict,
    410: ResyncNeeded,
    412: Conflict,
    413: TooLarge,
    429: Throttled,
    507: QuotaExceeded,
}
TOKEN_TRIES = 3  # tokens that may die one after the other before it is said that we cannot sign in
BLANK_404_TRIES = 3  # an empty 404 comes from a front end now and then (contract section 2)


@dataclass(frozen=True, slots=True)
class Lost:
    """No whole answer. `sent` False: the request did not leave, so nothing can have been done."""

    sent: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Again:
    """Try again: after `wait` seconds (None: back off), with a new token where `refresh`, the first time at once;
    `error` if patience ends.

    `tries` bounds how often this verdict leads to another try.
    """

    error: GraphError
    wait: float | None = None
    refresh: bool = False
    tries: int = 1_000


def error_of(answer: Response) -> GraphError:
    """The typed error of an answer that is no success."""
    code = answer.code
    kind = BY_CODE.get(code.lower()) or BY_STATUS.get(answer.status)
    if kind is None:
        kind = Invalid if 400 <= answer.status < 500 else Unreachable
    text = f"Graph answered {answer.status} {code}".rstrip()
    return kind(text, status=answer.status, code=code, retry_after=answer.retry_after or 0.0)


def judge(request: Request, answer: Response | Lost) -> Response | Again:
    """The success (decoded), or whether to try again; raises the typed error where neither."""
    if isinstance(answer, Lost):
        return _open(request, Unreachable(answer.reason), sent=answer.sent)
    if answer.status in request.expect:
        return _success(request, answer)
    error = error_of(answer)
    if isinstance(error, Throttled):
        return Again(error, answer.retry_after)
    if answer.status == 401:
        return Again(error, refresh=True, tries=TOKEN_TRIES)
    if answer.status == 504 and request.heavy:
        return Again(error, answer.retry_after, tries=request.heavy_tries)
    if isinstance(error, Unreachable):
        return _open(request, error, wait=answer.retry_after)
    if isinstance(error, NotFound) and not error.code and request.repeat:
        return Again(error, tries=BLANK_404_TRIES - 1)
    raise error


def _success(request: Request, answer: Response) -> Response | Again:
    if request.shape is None:
        return answer
    try:
        return replace(answer, value=decode(answer.body, request.shape))
    except UNREADABLE:
        return _open(request, Unreachable("Graph's answer could not be read", status=answer.status))


def _open(request: Request, error: GraphError, *, sent: bool = True, wait: float | None = None) -> Again:
    """The effect is open: again where that harms nothing, else OutcomeUnknown."""
    if sent and not request.repeat:
        raise OutcomeUnknown(str(error), status=error.status, code=error.code)
    return Again(error, wait)
