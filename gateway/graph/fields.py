"""What is asked of a message or a folder: `$select` lists and extended property ids (contract sections 5 and 6)."""

from __future__ import annotations

# What a listing or delta selects. META adds what ENVELOPE and header facts need.
INDEX_FIELDS = (
    "id", "parentFolderId", "conversationId", "createdDateTime", "lastModifiedDateTime", "receivedDateTime",
    "isRead", "isDraft", "flag", "categories", "internetMessageId", "isReadReceiptRequested",
)  # fmt: skip
META_FIELDS = (
    "subject", "from", "sender", "toRecipients", "ccRecipients", "bccRecipients", "replyTo", "sentDateTime",
    "hasAttachments", "bodyPreview", "internetMessageHeaders",
)  # fmt: skip
FOLDER_FIELDS = (
    "id", "displayName", "parentFolderId", "childFolderCount", "unreadItemCount", "totalItemCount",
    "isHidden",
)  # fmt: skip
PR_MESSAGE_SIZE = "Integer 0x0E08"
PR_FOLDER_SIZE = "Long 0x0E08"  # PR_MESSAGE_SIZE_EXTENDED
PR_LAST_VERB = "Integer 0x1081"
PR_ICON_INDEX = "Integer 0x1080"
PR_TRANSPORT_HEADERS = "String 0x007D"
IMAP_DELETED = "Integer {00062008-0000-0000-c000-000000000046} Id 0x8570"
# PS_PUBLIC_STRINGS: a name in the set of Internet headers would be rendered into the MIME header (contract 6.3).
MACHINE_KEYWORDS = "String {00020329-0000-0000-c000-000000000046} Name x-gateway-keywords"
INDEX_PROPERTIES = (PR_MESSAGE_SIZE, PR_LAST_VERB, IMAP_DELETED, MACHINE_KEYWORDS)
META_PROPERTIES = (PR_TRANSPORT_HEADERS,)
