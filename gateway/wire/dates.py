"""Dates of the protocol and of mail headers, without a clock.

Three kinds: `date-time` of INTERNALDATE and APPEND, `date` of SEARCH (both RFC 9051 section 9), and the
`Date:` field of a message (RFC 5322 sections 3.3 and 4.3), which may hold anything at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

Day = tuple[int, int, int]  # year, month, day

MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(MONTHS, 1)}

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = -62_135_510_400  # 0001-01-02, a day inside what datetime holds, so that any zone fits
_LATEST = 253_402_214_400  # 9999-12-31

# -- INTERNALDATE --

# The day is SP DIGIT or 2DIGIT; one digit without its space is taken, too.
_DATE_TIME = re.compile(
    rb"[ ]?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.ASCII
)


def parse_date_time(text: bytes) -> tuple[int, int]:
    """`17-Jul-1996 02:44:25 -0700`, without its quotes, as (seconds since 1970 UTC, zone in minutes east).

    ValueError where it is not a date-time or not in the calendar.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError("not a date-time")
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    zone = _zone(sign, zone_hours, zone_minutes)
    local = _seconds(_day(year, month, day), int(hour), int(minute), int(second))
    return local - zone * 60, zone


def format_date_time(epoch: int, zone_minutes: int = 0) -> bytes:
    """The quoted date-time of INTERNALDATE; years outside 1..9999 are held to the nearest."""
    zone = max(-1439, min(1439, zone_minutes))
    moment = _EPOCH + timedelta(seconds=max(_EARLIEST, min(_LATEST, epoch)))
    local = moment.astimezone(timezone(timedelta(minutes=zone)))
    sign, (hours, minutes) = (b"-" if zone < 0 else b"+"), divmod(abs(zone), 60)
    return b'"%2d-%b-%04d %02d:%02d:%02d %b%02d%02d"' % (
        local.day, MONTHS[local.month - 1], local.year, local.hour, local.minute, local.second,
        sign, hours, minutes,
    )  # fmt: skip


def format_date_times(epochs: Sequence[int]) -> list[bytes]:
    """`format_date_time` of many, in UTC."""
    if epochs and not _EARLIEST <= min(epochs) <= max(epochs) <= _LATEST:
        return [format_date_time(epoch) for epoch in epochs]
    return [
        b'%b%02d:%02d +0000"' % (_day_and_hour(hour), *divmod(second, 60))
        for hour, second in (divmod(epoch, 3600) for epoch in epochs)
    ]


@lru_cache(maxsize=16_384)
def _day_and_hour(hour: int) -> bytes:
    """Of an hour since 1970, as the quoted date-time begins."""
    return format_date_time(hour * 3600)[:16]


def day_of(epoch: int, zone_minutes: int = 0) -> Day:
    """The calendar day of a moment in a zone: what SEARCH SINCE, ON and BEFORE compare."""
    ordinal = _EPOCH_ORDINAL + (epoch + zone_minutes * 60) // 86_400
    found = date.fromordinal(max(1, min(date.max.toordinal(), ordinal)))
    return found.year, found.month, found.day


# -- SEARCH --

_DATE = re.compile(rb"(\d{1,2})-([A-Za-z]{3})-(\d{4})", re.ASCII)


def parse_date(text: bytes) -> Day:
    """`1-Feb-1994` as (1994, 2, 1); ValueError where it is not a date."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError("not a date")
    day, month, year = match.groups()
    return _day(year, month, day)


# -- Date: of a message --

_HEADER_OCTETS = 512  # of the field's value that are looked at
_COMMENT_EDGE = re.compile(rb"\\.|[()]", re.DOTALL)
_TIME = rb"(\d{1,2})\s*[:.]\s*(\d{1,2})(?:\s*[:.]\s*(\d{1,2})(?:[.,]\d+)?)?"
_ZONE = rb"(?:(?:GMT|UTC?)?\s*([+-])(\d\d):?(\d\d)|([A-Za-z]{1,5}))"
_RFC5322 = re.compile(
    rb"\s*(?:[A-Za-z]+\s*[,.]?\s*)?(\d{1,2})[\s-]+([A-Za-z]{3})[A-Za-z]*\.?[\s,-]+(\d{2,4})(?!\d)"
    rb"(?:[\s,]+%b(?:\s*%b)?)?" % (_TIME, _ZONE),
    re.ASCII,
)
_ASCTIME = re.compile(
    rb"\s*[A-Za-z]+,?\s+([A-Za-z]{3})[A-Za-z]*\s+(\d{1,2})\s+%b\s+(?:%b\s+)?(\d{4})(?!\d)" % (_TIME, _ZONE),
    re.ASCII,
)
_ZONES = {  # RFC 5322 section 4.3, hours; the military letters and anything unknown mean +0000
    b"EST": -5, b"EDT": -4, b"CST": -6, b"CDT": -5, b"MST": -7, b"MDT": -6, b"PST": -8, b"PDT": -7,
}  # fmt: skip


def parse_header_date(value: bytes) -> tuple[int, int] | None:
    """A Date: field's value as (seconds since 1970 UTC, zone in minutes east); None where it is none.

    Obsolete forms are taken: comments, zone names, two-digit years, no seconds, no zone (as +0000), asctime.
    """
    parsed = _parse_header(value)
    if parsed is None:
        return None
    day, clock, zone = parsed
    try:
        return _seconds(day, *clock) - zone * 60, zone
    except ValueError:
        return None


def sent_day(value: bytes) -> Day | None:
    """The day a Date: field names, in its own zone: what SENTSINCE, SENTON and SENTBEFORE compare (time and
    zone disregarded, RFC 9051 section 6.4.4)."""
    parsed = _parse_header(value)
    return parsed[0] if parsed else None


def _parse_header(value: bytes) -> tuple[Day, tuple[int, int, int], int] | None:
    text = b" ".join(_without_comments(value[:_HEADER_OCTETS]).split())
    if match := _RFC5322.match(text):
        day, month, year, *rest = match.groups()
    elif match := _ASCTIME.match(text):
        month, day, *rest, year = match.groups()
    else:
        return None
    hour, minute, second, sign, zone_hours, zone_minutes, zone_name = rest
    try:
        clock = (int(hour or 0), int(minute or 0), int(second or 0))
        zone = _ZONES.get((zone_name or b"").upper(), 0) * 60
        if sign:
            zone = _lenient_zone(sign, zone_hours, zone_minutes)
        return _day(_full_year(year), month, day), clock, zone
    except ValueError:
        return None


def _without_comments(text: bytes) -> bytes:
    """RFC 5322 comments, which nest, become a space."""
    if b"(" not in text:
        return text
    kept: list[bytes] = []
    depth = start = 0
    for edge in _COMMENT_EDGE.finditer(text):
        if edge[0] == b"(":
            if not depth:
                kept.append(text[start : edge.start()])
            depth += 1
        elif edge[0] == b")" and depth:
            depth -= 1
            start = edge.end()
    if not depth:
        kept.append(text[start:])
    return b" ".join(kept)


def _full_year(year: bytes) -> bytes:
    """RFC 5322 section 4.3: 00-49 is 2000-2049, 50-99 and three digits count from 1900."""
    if len(year) >= 4:
        return year
    number = int(year)
    return b"%d" % (number + (2000 if len(year) == 2 and number < 50 else 1900))


def _lenient_zone(sign: bytes, hours: bytes, minutes: bytes) -> int:
    try:
        return _zone(sign, hours, minutes)
    except ValueError:
        return 0


# -- shared --


def _zone(sign: bytes, hours: bytes, minutes: bytes) -> int:
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError("no such zone")
    offset = int(hours) * 60 + int(minutes)
    return -offset if sign == b"-" else offset


def _day(year: bytes, month: bytes, day: bytes) -> Day:
    found = date(int(year), _MONTH_NUMBERS.get(month.lower(), 0), int(day))  # ValueError outside the calendar
    return found.year, found.month, found.day


def _seconds(day: Day, hour: int, minute: int, second: int) -> int:
    """Seconds since 1970 as if the local time were UTC; 60 is a leap second."""
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("no such time of day")
    days = date(*day).toordinal() - _EPOCH_ORDINAL
    return ((days * 24 + hour) * 60 + minute) * 60 + second
