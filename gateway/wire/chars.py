"""Character classes of the IMAP grammar, transcribed from RFC 9051 section 9 and RFC 3501 section 9.

Each class is named as in the ABNF and exists once: as the inside of a regex character class (`..._CLASS`),
from which the terminals below are made and the set of its octets is derived (`octets`).
"""

from __future__ import annotations

import re

CTL_CLASS = rb"\x00-\x1f\x7f"
# any CHAR except ( ) { SP CTL % * " \ ]
ATOM_CHAR_CLASS = rb"\x21\x23-\x24\x26-\x27\x2b-\x5b\x5e-\x7a\x7c-\x7e"
# ATOM-CHAR / resp-specials
ASTRING_CHAR_CLASS = rb"\x21\x23-\x24\x26-\x27\x2b-\x5b\x5d-\x7a\x7c-\x7e"
# any ASTRING-CHAR except "+"
TAG_CHAR_CLASS = rb"\x21\x23-\x24\x26-\x27\x2c-\x5b\x5d-\x7a\x7c-\x7e"
# ATOM-CHAR / list-wildcards / resp-specials
LIST_CHAR_CLASS = rb"\x21\x23-\x27\x2a-\x5b\x5d-\x7a\x7c-\x7e"
# any CHAR except CR and LF; CHAR is 01-7f
TEXT_CHAR_CLASS = rb"\x01-\x09\x0b-\x0c\x0e-\x7f"
# TEXT-CHAR except quoted-specials: what stands unescaped in a quoted string of RFC 3501
QUOTED_PLAIN_CLASS = rb"\x01-\x09\x0b-\x0c\x0e-\x21\x23-\x5b\x5d-\x7f"
# the same with UTF8-2 / UTF8-3 / UTF8-4 of RFC 9051; whether it is UTF-8 is checked where it is decoded
QUOTED_UTF8_CLASS = QUOTED_PLAIN_CLASS + rb"\x80-\xff"
RESP_SPECIALS_CLASS = rb"\x5d"
LIST_WILDCARDS_CLASS = rb"\x25\x2a"
QUOTED_SPECIALS_CLASS = rb"\x22\x5c"
DIGIT_CLASS = rb"\x30-\x39"
# RFC 4648 section 4
BASE64_CHAR_CLASS = rb"\x2b\x2f-\x39\x41-\x5a\x61-\x7a"
# RFC 3501 section 5.1.3: "," instead of "/"
MUTF7_BASE64_CLASS = rb"\x2b-\x2c\x30-\x39\x41-\x5a\x61-\x7a"

ATOM = re.compile(rb"[%b]+" % ATOM_CHAR_CLASS)
ASTRING_ATOM = re.compile(rb"[%b]+" % ASTRING_CHAR_CLASS)
LIST_ATOM = re.compile(rb"[%b]+" % LIST_CHAR_CLASS)
TAG = re.compile(rb"[%b]{1,255}" % TAG_CHAR_CLASS)  # longer ones are not echoed
QUOTED = re.compile(rb'"((?:[%b]|\\["\\])*+)"' % QUOTED_UTF8_CLASS)
QUOTED_PAIR = re.compile(rb'\\(["\\])')
QUOTABLE = re.compile(rb"[%b]*" % TEXT_CHAR_CLASS)
DIGITS = re.compile(rb"[%b]+" % DIGIT_CLASS)
BASE64 = re.compile(rb"(?:[%b]{4})*+(?:[%b]{2}==|[%b]{3}=)?" % ((BASE64_CHAR_CLASS,) * 3))
FLAG = re.compile(rb"\\?[%b]+" % ATOM_CHAR_CLASS)
# literal ("+": it comes without a continuation, RFC 7888), literal8 (RFC 3516); always at a line's end.
# number64 has at most 19 digits; one more may be read, so that it can be told to be too large.
LITERAL_HEADER = re.compile(rb"(~?)\{([0-9]{1,20})(\+?)\}\Z")
LITERAL_HEADER_OCTETS = 24  # its longest form


def octets(char_class: bytes) -> frozenset[int]:
    """The octets of a class above."""
    one = re.compile(rb"[%b]" % char_class)
    return frozenset(octet for octet in range(256) if one.match(bytes((octet,))))
