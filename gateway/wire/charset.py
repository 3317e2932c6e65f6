"""The charsets that SEARCH takes (RFC 9051 section 6.4.4): those of the mail world, by name.

A list, not whatever Python's codec registry finds: some of its codecs are not charsets at all.
"""

from __future__ import annotations

from gateway.core.errors import BadCommand, Refused

DEFAULT = "utf-8"  # RFC 9051; a superset of RFC 3501's US-ASCII
ANNOUNCED = (b"US-ASCII", b"UTF-8")  # in BADCHARSET; the others are taken, too

_SAME_IN_PYTHON = (
    *(f"iso-8859-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
    *(f"windows-{n}" for n in range(1250, 1259)),
    "utf-8", "koi8-r", "koi8-u", "iso-2022-jp", "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-kr", "shift_jis",
    "euc-jp", "euc-kr", "gb2312", "gbk", "gb18030", "hz-gb-2312", "big5", "big5-hkscs", "johab", "tis-620",
    "cp437", "cp850", "cp852", "cp855", "cp866", "cp874", "cp932", "cp949", "cp950", "macintosh",
)  # fmt: skip
_CODECS: dict[str, str] = {
    **{name: name for name in _SAME_IN_PYTHON},
    "us-ascii": DEFAULT,  # clients that say so and send UTF-8 are helped, the others lose nothing
    "ascii": DEFAULT,
    "utf8": "utf-8",
    "latin1": "iso-8859-1",
    "iso-8859-8-i": "iso-8859-8",
    "ks_c_5601-1987": "cp949",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "x-sjis": "shift_jis",
}


class BadCharset(Refused):
    """NO [BADCHARSET (...)]: the command is well-formed, its charset is not known here."""

    code = b"BADCHARSET (%b)" % b" ".join(ANNOUNCED)


def codec(name: bytes) -> str:
    """Python's codec for an IANA charset name in any case; BadCharset for an unknown one."""
    found = _CODECS.get(name.decode("ascii", "replace").lower())
    if found is None:
        raise BadCharset("Charset not supported")
    return found


def decode(text: bytes, codec_name: str) -> str:
    """The text of a search string; BadCommand where it is not in its charset."""
    try:
        return text.decode(codec_name)
    except (UnicodeDecodeError, ValueError) as error:
        raise BadCommand("Search text is not in the charset of the command") from error
