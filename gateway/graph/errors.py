"""What Graph can answer, typed (contract section 2). Keyed by `code` (case-insensitive) and HTTP status,
never by text.

```
GraphError
├── NotFound              404 (ErrorItemNotFound, folders, ...): gone, moved, or not yet visible
├── Conflict              412 / ErrorIrresolvableConflict / stale ErrorInvalidChangeKey
├── AlreadyExists         409 ErrorFolderExists
├── Denied                403 (rights, policy, SendAs): `code` tells
├── QuotaExceeded         403/507 ErrorQuotaExceeded
├── SendLimit             ErrorExceededMessageLimit and kin
├── TooLarge              413 / ErrorMessageSizeExceeded / RequestEntityTooLarge
│   └── UploadRefused     no upload session: a shared mailbox with a delegated token (contract section 10.4)
├── Invalid               400: a request Graph does not accept; a bug here or a peer's bad content
│   ├── BadRecipients     ErrorInvalidRecipients
│   ├── BadMime           ErrorMimeContentInvalid...
│   └── BadId             ErrorInvalidIdMalformed
├── ResyncNeeded          a delta token died: 410, SyncState..., or any 400 from a deltaLink
├── PermanentFailure      500 that never heals (ErrorMimeContentConversionFailed, ErrorCorruptData)
├── SignInFailed          the identity platform refused (AADSTS...), or 401 again and again (`status`)
├── Throttled             429 for longer than our patience
├── Unreachable           network, 5xx, time-out for longer than our patience; nothing is known of the effect
└── OutcomeUnknown        a request that must not be repeated may or may not have been done
```
"""

from __future__ import annotations


class GraphError(Exception):
    """`status` and `code` as answered (0 and '' if there was no answer). `str()` holds no content and no secret."""

    def __init__(self, text: str = "", *, status: int = 0, code: str = "", retry_after: float = 0.0) -> None:
        super().__init__(text or code or type(self).__name__)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class NotFound(GraphError): ...


class Conflict(GraphError): ...


class AlreadyExists(GraphError): ...


class Denied(GraphError): ...


class QuotaExceeded(GraphError): ...


class SendLimit(GraphError): ...


class TooLarge(GraphError): ...


class UploadRefused(TooLarge): ...


class Invalid(GraphError): ...


class BadRecipients(Invalid): ...


class BadMime(Invalid): ...


class BadId(Invalid): ...


class ResyncNeeded(GraphError): ...


class PermanentFailure(GraphError): ...


class SignInFailed(GraphError): ...


class Throttled(GraphError): ...


class Unreachable(GraphError): ...


class OutcomeUnknown(GraphError): ...
