"""Charset labels found in mail, and octets to text that never fails (RFC 2045, 2047, 2231; WHATWG's label
sense).

Only charsets on the list below are decoded: Python also knows codecs that are no charsets (`idna`,
`punycode`, `unicode_escape`), and some of those take quadratic time on hostile input.
"""

from __future__ import annotations

import re
from encodings.aliases import aliases

# What mail calls a charset, where Python has no such name or a too narrow one.
_ALIASES: dict[str, str] = {
    "ansi_x3.110-1983": "cp1252",
    "ansi_x3.4-1968": "cp1252",
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",  # labelled Latin-1, written in Windows' own: the superset reads both
    "iso8859-1": "cp1252",
    "iso_8859-1": "cp1252",
    "latin1": "cp1252",
    "l1": "cp1252",
    "ansi": "cp1252",
    "x-ansi": "cp1252",
    "iso-8859-8-i": "iso8859_8",
    "iso-8859-8-e": "iso8859_8",
    "iso-8859-6-i": "iso8859_6",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "windows-31j": "cp932",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "ms_kanji": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",  # what Outlook sends under this name holds half-width katakana, too
    "cp50220": "iso2022_jp_ext",
    "cp50221": "iso2022_jp_ext",
    "x-euc-jp": "euc_jp",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "ksc5601": "cp949",
    "ksc_5601": "cp949",
    "euc-kr": "cp949",
    "windows-949": "cp949",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "cp936": "gb18030",
    "hz-gb-2312": "hz",
    "big5": "big5hkscs",
    "big5-hkscs": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "cn-big5": "big5hkscs",
    "unicode-1-1-utf-7": "utf_7",
    "unicode-1-1-utf-8": "utf_8",
    "x-unicode-2-0-utf-7": "utf_7",
    "utf8mb4": "utf_8",
    "unicode": "utf_16",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "x-mac-ce": "mac_latin2",
}
_FAMILIES = ("cp", "iso8859_", "iso2022_", "utf_", "mac_", "koi8_", "euc_", "big5", "gb", "shift_j")
_OTHERS = frozenset({"ascii", "hp_roman8", "hz", "johab", "kz1048", "latin_1", "ptcp154", "tis_620"})
_WITHOUT_ALIAS = ("cp720", "cp737", "cp856", "cp874", "cp875", "cp1006", "koi8_r", "koi8_t", "koi8_u")
_WIDE = ("utf_16", "utf_32")


def _key(label: str) -> str:
    return label.replace("-", "_").replace(" ", "_").replace(".", "_").replace(":", "_")


def _table() -> dict[str, str]:
    """Every label to Python's codec: known beforehand, so that no label of a peer reaches `codecs.lookup`,
    which remembers each for ever."""
    targets = {target for target in aliases.values() if target.startswith(_FAMILIES) or target in _OTHERS}
    table = {alias: target for alias, target in aliases.items() if target in targets}
    table |= {name: name for name in (*targets, *_WITHOUT_ALIAS)}
    table |= {f"windows_{number}": f"cp{number}" for number in range(1250, 1259)}
    return table | {_key(label): codec for label, codec in _ALIASES.items()}


_CODECS = _table()


# In 7-bit octets: they may stand for other characters all the same. ISO-2022, HZ, UTF-7, UTF-16.
_SHIFTS = re.compile(rb"[\x00\x0e\x1b+]|~\{")


def codec_of(label: bytes) -> str | None:
    """Python's name of the charset with this label, in any case; None if it is none that mail may use."""
    return _CODECS.get(_key(label[:80].decode("ascii", "replace").strip(" \t\"'").lower()))


def is_wide(label: bytes | None) -> bool:
    """Whether 7-bit octets are not ASCII in this charset, so that a LF octet ends no line."""
    return label is not None and (codec_of(label) or "").startswith(_WIDE)


def text_of(octets: bytes, label: bytes | None = None) -> str:
    """`octets` as text. Never fails: an unknown or absent label is read as UTF-8 if it is that, else as
    Latin-1; octets that the charset does not have become U+FFFD. US-ASCII that is not is read like an
    absent label."""
    codec = codec_of(label) if label else None
    if octets.isascii() and not _SHIFTS.search(octets) and not is_wide(label):
        return octets.decode("ascii")
    if codec is None or codec == "cp1252":
        return _guess(octets, codec or "latin_1")
    try:
        return octets.decode(codec, "replace")
    except (LookupError, ValueError):  # a decoder that raises in spite of "replace"
        return octets.decode("latin_1")


def _guess(octets: bytes, fallback: str) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode(fallback, "replace")
