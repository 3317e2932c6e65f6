"""The named live-only failures: everything Exchange Online does to a client that a kind fake would not.

Each rule is a switch (`POST /_emulator/rules`), on unless said otherwise. Source: the Graph contract,
section 15; the number in brackets is the trap it stands for, a section sign the clause it comes from.
"""

from __future__ import annotations

from typing import Final

from gateway.emulator.api import Rules

RULES: Final[dict[str, str]] = {
    # -- creating and landing mail --
    "mime-to-folder-refused": "MIME posted to mailFolders/{id}/messages is a 400 (1)",
    "draft-is-forever": "a message made from MIME stays a draft, whatever is patched later (2)",
    "landing-dates-ignored": "receivedDateTime, sentDateTime and isDraft in a JSON create change nothing (3)",
    "unknown-key-refused": "one unknown key in a JSON body is a 400 UnableToDeserializePostBody (4)",
    "bare-lf-refused": "MIME with bare LF line ends is refused (23)",
    "body-over-4mb": "a request body over 4 MB is refused with 413 (§10)",
    "silent-200": "sendMail with a body over 4 MB answers 200 and sends nothing (24)",
    "create-then-404": "an id just minted answers 404 for limits.fresh_404_seconds (42)",
    # -- ids and moves --
    "immutable-id-hole": "a message moved A to B to A between two polls is lost in A's delta (5)",
    "immutable-move-unseen": "delta shows a move as a removal alone until the next change; off at start (§7)",
    "id-churn": "a regular id changes on every move (6)",
    "id-case-sensitive": "ids that differ by case only are different ids (7)",
    "property-id-normalised": "extended property ids come back normalised: 0x0E08 is answered as 0xe08 (8)",
    "conflict-without-if-match": "a PATCH right after an outside write answers 412 once (9)",
    "delete-again-destroys": "DELETE of an immutable id already in Deleted Items destroys the item (53)",
    "rules-race": "an inbox rule moves new mail seconds after it was announced (44)",
    # -- delta --
    "delta-quota": "delta on a full mailbox is a 403 ErrorQuotaExceeded, plain reads go on (10)",
    "token-death-varies": "a dead delta token is a 410, a SyncStateNotFound or a plain 400, in turn (11)",
    "delta-empty-pages": "delta answers some pages with a nextLink and no items (12)",
    "delta-replays": "a delta round may repeat rows already seen (§12)",
    "delta-expand-refused": "delta refuses $expand of extended properties (§12)",
    "delta-lag": "delta rows may be older than a write just made, for limits.delta_lag_seconds (55)",
    "page-default-10": "without $top or maxpagesize a page has 10 items (13)",
    "page-cap-512": "a delta page has at most 512 items, whatever was asked (§4)",
    "top-limits-delta": "$top in delta limits the total, not the page (14)",
    # -- reading --
    "skip-unstable": "$skip counts what is there now: mail that arrives shifts the next page (15)",
    "skip-counts-non-mail": "$skip counts items that no message list shows (§4)",
    "estimate-size": "PR_MESSAGE_SIZE (0x0E08) is not the length of $value (25)",
    "smime-value-500": "$value of opaque S/MIME is a permanent 500 ErrorMimeContentConversionFailed (26)",
    "value-truncated": "$value ends early though the answer looks complete; off unless asked for (27)",
    "inline-has-no-attachments": "hasAttachments is false when all attachments are inline (28)",
    "value-regenerated": "a category change adds a Keywords header to $value (29)",
    "truncate-long-properties": "long extended properties come truncated in lists (54)",
    "absent-property-is-null": "a filter on an absent extended property matches null, never 0 (38)",
    "read-receipt-on-seen": "isRead=true sends the read receipt the sender asked for (51)",
    # -- folders --
    "localized-names": "special folders have display names in the mailbox's language (30)",
    "list-one-level": "v1.0 mailFolders lists the top level only, beta the whole tree flat (31)",
    "duplicate-siblings-allowed-outside": "two folders of one name can exist side by side (32)",
    "counts-include-non-mail": "totalItemCount counts items that no message list shows (34)",
    "counts-lag": "folder counts follow a change after limits.counts_lag_seconds (§5)",
    # -- queries --
    "search-words-only": "$search matches whole words and prefixes, never substrings (35)",
    "search-lag": "$search finds new mail only after limits.search_lag_seconds (35)",
    "recipient-filter-refused": "filters on toRecipients, cc and bcc are ErrorInvalidUrlQueryFilter (36)",
    "orderby-needs-filter": "$orderby properties must lead $filter, else InefficientFilter (37)",
    # -- attachments --
    "upload-next-200": "an upload chunk that is not the last answers 200, not 202 (39)",
    "upload-bearer-refused": "an Authorization header on an upload URL is a 401 (40)",
    # -- sending --
    "qp-mangled": "quoted-printable HTML in sent MIME is mangled (22)",
    "sent-copy-late": "the copy in Sent Items appears after limits.sent_copy_seconds (§10)",
    "deferred-send-waits": "a message with PR_DEFERRED_SEND_TIME stays in Drafts until that time (§6.3)",
    "sendmail-no-envelope": "recipients come from To, Cc and Bcc of the MIME alone (20)",
    "x-headers-dropped": "X- headers are dropped until the mailbox knows the named property (52)",
    "odd-headers-dropped": "other non-standard headers are dropped from sent MIME (52)",
    "auto-submitted-dropped": "Auto-Submitted and Return-Path are removed from sent MIME (52)",
    # -- change notifications --
    "webhooks-https-only": "a notificationUrl that is not https is a 400 (§13)",
    "notices-late": "a notification comes limits.notice_seconds after the change (§13)",
    "notices-repeat": "a notification may come twice (§13)",
    "notices-reordered": "notifications come in another order than the changes (§13)",
    "notices-slow-dropped": "who answers slowly is notified ten minutes later, or not at all (§13)",
    "reauthorization-required": "half its life on, a subscription has to be authorised again (§13)",
    # -- the service --
    "concurrency-4": "four requests in flight per app and mailbox, the fifth is a 429 (16)",
    "batch-inner-429": "the fifth independent request of a batch to one mailbox is an inner 429 (16)",
    "batch-headers-not-inherited": "headers of the $batch call do not reach its inner requests (§3)",
    "retry-after-float": "Retry-After is fractional seconds (17)",
    "me-needs-delegated": "/me with an app-only token is a 400 (46)",
    "error-envelope-varies": "an error comes bare, with innerError or with innererror, in turn (§2)",
    "prefer-last-wins": "of several Prefer headers only the last counts (49)",
}

OFF_AT_START: Final = frozenset({"value-truncated", "immutable-move-unseen"})


def default_rules() -> Rules:
    """All rules, strict: everything on but what only a test should ask for."""
    return Rules({name: name not in OFF_AT_START for name in RULES})
