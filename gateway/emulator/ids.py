"""Identifiers as Exchange mints them: message (both formats), folder, conversation, attachment, change key.

Shapes and lengths: contract sections 7 and 6.1. Everything is base64url (change keys: standard base64): ids
may differ by case alone, and one is valid only if it encodes back to itself.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

PROVIDER: Final = bytes.fromhex("1d840311aa6611cd9bc800aa002f845a")
_NAMESPACE: Final = uuid.UUID("6f0c6bb0-2a45-4a0f-8e57-0d7e4cf6a1d9")

MESSAGE_LENGTH: Final = 152
FOLDER_LENGTH: Final = 120
IMMUTABLE_LENGTH: Final = 68
_ATTACHMENT_TAIL: Final = 3 + 16  # count byte, LE16 length, 16-byte key


class MalformedIdError(ValueError):
    """Not an id of any known format: Graph answers 400 ErrorInvalidIdMalformed."""


@dataclass(frozen=True, slots=True)
class MessageRef:
    """What a message id names: `serial` in the regular format, `number` in the immutable one."""

    immutable: bool
    number: int
    folder: int = 0


def _le16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of a base64url id; MalformedIdError for anything that does not encode back to itself."""
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii"))
    except (binascii.Error, ValueError) as error:
        raise MalformedIdError(text) from error
    if _encode(data) != text:
        raise MalformedIdError(text)
    return data


class IdMint:
    """Mints and reads the ids of one mailbox. `guid` is the mailbox guid that regular ids show in clear."""

    __slots__ = ("_folder_head", "_immutable_head", "_message_head", "_message_middle", "guid", "store")

    def __init__(self, guid: str) -> None:
        self.guid = guid
        self.store = uuid.uuid5(_NAMESPACE, guid).bytes
        clear = guid.encode("ascii")
        regular = b"\x00\x03" + _le16(36) + clear + b"\x00"
        entry = bytes(4) + self.store
        self._message_head = regular + _le16(70) + entry + b"\x07\x00" + self.store
        self._message_middle = b"\x00\x00" + self.store[::-1]
        self._folder_head = regular + _le16(46) + entry + b"\x01\x00" + self.store
        self._immutable_head = b"\x00\x09\x00" + _le16(46) + bytes(4) + PROVIDER + b"\x0d\x00" + self.store

    def message(self, folder: int, serial: int) -> str:
        """The 152-character regular id: it names the folder and the serial the item got there."""
        return _encode(
            b"%b%b%b%b\x00\x00"
            % (self._message_head, folder.to_bytes(6, "big"), self._message_middle, serial.to_bytes(6, "big"))
        )

    def immutable(self, number: int) -> str:
        """The 68-character immutable id of item `number`."""
        return _encode(self._immutable_head + number.to_bytes(6, "big") + b"\x00\x00")

    def folder(self, number: int) -> str:
        """The 120-character folder id; the same under every Prefer header."""
        return _encode(self._folder_head + number.to_bytes(6, "big") + b"\x00\x00")

    def conversation(self, key: bytes) -> str:
        """The 80-character conversation id of a 16-byte key."""
        return _encode(b"\x00\x04" + _le16(36) + self.guid.encode("ascii") + b"\x00" + _le16(16) + key)

    def attachment(self, message_id: str, key: bytes) -> str:
        """The id of attachment `key` (16 bytes) of the message with that id, in the message id's format."""
        return _encode(base64.urlsafe_b64decode(message_id) + b"\x01" + _le16(16) + key)

    def change_key(self, change: int) -> str:
        """The 40-character change key: 30 bytes in standard base64."""
        raw = b"\x09\x00\x00\x00\x16\x00\x00\x00" + self.store + change.to_bytes(6, "big")
        return base64.b64encode(raw).decode("ascii")

    def read_message(self, text: str) -> MessageRef | None:
        """What `text` names; None for an id of another mailbox, MalformedIdError for no id at all."""
        data = decode(text)
        if not data.endswith(b"\x00\x00"):
            raise MalformedIdError(text)
        if len(text) == IMMUTABLE_LENGTH and data[:2] == b"\x00\x09":
            head = data[: len(self._immutable_head)]
            return (
                MessageRef(True, int.from_bytes(data[-8:-2], "big")) if head == self._immutable_head else None
            )
        if len(text) == MESSAGE_LENGTH and data[:4] == b"\x00\x03\x24\x00":
            return self._read_regular(data)
        if len(text) == FOLDER_LENGTH and data[:4] == b"\x00\x03\x24\x00":
            return None
        raise MalformedIdError(text)

    def _read_regular(self, data: bytes) -> MessageRef | None:
        if not data.startswith(self._message_head):
            return None
        at = len(self._message_head)
        if data[at + 6 : -8] != self._message_middle:
            return None
        return MessageRef(False, int.from_bytes(data[-8:-2], "big"), int.from_bytes(data[at : at + 6], "big"))

    def read_folder(self, text: str) -> int | None:
        """The folder number; None for a well-formed id of something else, MalformedIdError otherwise."""
        data = decode(text)
        if data[:4] != b"\x00\x03\x24\x00" or not data.endswith(b"\x00\x00"):
            raise MalformedIdError(text)
        if len(text) != FOLDER_LENGTH or not data.startswith(self._folder_head):
            return None
        return int.from_bytes(data[-8:-2], "big")

    def read_attachment(self, text: str) -> bytes | None:
        """The 16-byte key at the end of an attachment id; MalformedIdError for anything shorter than one."""
        data = decode(text)
        if len(data) <= _ATTACHMENT_TAIL:
            raise MalformedIdError(text)
        return data[-16:] if data[-19:-16] == b"\x01\x10\x00" else None


@lru_cache(maxsize=4096)
def user_guid(upn: str) -> str:
    """The directory object id of a user: a function of the name, so that it survives a restart."""
    return str(uuid.uuid5(_NAMESPACE, "user:" + upn.lower()))


def mailbox_guid(upn: str) -> str:
    """The guid shown inside regular ids; not the directory's."""
    return str(uuid.uuid5(_NAMESPACE, "mailbox:" + upn.lower()))


TENANT_GUID: Final = str(uuid.uuid5(_NAMESPACE, "tenant"))
