"""Dates: INTERNALDATE there and back, SEARCH's, and what real Date: fields hold."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import dates

zones = st.integers(-14 * 60, 14 * 60)
moments = st.integers(-2_208_988_800, 7_258_118_399)  # 1900..2199


@given(moments, zones)
def test_date_time_round_trip(epoch: int, zone: int) -> None:
    text = dates.format_date_time(epoch, zone)
    assert len(text) == 28
    assert dates.parse_date_time(text[1:-1]) == (epoch, zone)


@given(moments, zones)
def test_format_agrees_with_datetime(epoch: int, zone: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=epoch)  # noqa: UP017
    local = moment.astimezone(timezone(timedelta(minutes=zone)))
    assert dates.format_date_time(epoch, zone)[3:] == local.strftime('-%b-%Y %H:%M:%S %z"').encode()
    assert dates.day_of(epoch, zone) == (local.year, local.month, local.day)


@pytest.mark.parametrize(
    ("text", "epoch", "zone"),
    [
        (b"17-Jul-1996 02:44:25 -0700", 837_596_665, -420),
        (b" 1-Jan-1970 00:00:00 +0000", 0, 0),
        (b"1-jan-1970 00:00:00 +0000", 0, 0),
        (b"01-JAN-1970 01:00:00 +0100", 0, 60),
        (b"31-Dec-1998 23:59:60 +0000", 915_148_800, 0),
        (b" 5-Feb-2024 05:30:00 +0530", 1_707_091_200, 330),
    ],
)
def test_date_time(text: bytes, epoch: int, zone: int) -> None:
    assert dates.parse_date_time(text) == (epoch, zone)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"32-Jan-2020 00:00:00 +0000", b"30-Feb-2020 00:00:00 +0000", b"29-Feb-2023 00:00:00 +0000",
        b" 1-Foo-2020 00:00:00 +0000", b" 1-Jan-2020 24:00:00 +0000", b" 1-Jan-2020 00:60:00 +0000",
        b" 1-Jan-2020 00:00:61 +0000", b" 1-Jan-2020 00:00:00 0000", b" 1-Jan-2020 00:00:00 +2400",
        b" 1-Jan-0000 00:00:00 +0000", b"2020-01-01T00:00:00Z", b" 1-Jan-2020 00:00:00 +0000 ",
        " ١-Jan-2020 00:00:00 +0000".encode(),
    ],
)  # fmt: skip
def test_not_a_date_time(text: bytes) -> None:
    with pytest.raises(ValueError):
        dates.parse_date_time(text)


@pytest.mark.parametrize("epoch", [-(10**15), 10**15, dates._EARLIEST, dates._LATEST])
@pytest.mark.parametrize("zone", [-9999, -1439, 0, 1439, 9999])
def test_no_moment_breaks_the_format(epoch: int, zone: int) -> None:
    dates.parse_date_time(dates.format_date_time(epoch, zone)[1:-1])
    assert 1 <= dates.day_of(epoch, zone)[0] <= 9999


def test_search_date() -> None:
    assert dates.parse_date(b"1-Feb-1994") == (1994, 2, 1)
    assert dates.parse_date(b"01-feb-1994") == (1994, 2, 1)
    for text in (b"1-Feb-94", b"0-Feb-1994", b"1-Febr-1994", b"1 Feb 1994", b"", b"1-Feb-1994 "):
        with pytest.raises(ValueError):
            dates.parse_date(text)


@pytest.mark.parametrize(
    ("value", "epoch", "zone", "day"),
    [
        (b"Fri, 21 Nov 1997 09:55:06 -0600", 880_127_706, -360, (1997, 11, 21)),  # RFC 5322 A.1.1
        (b"21 Nov 97 09:55:06 GMT", 880_106_106, 0, (1997, 11, 21)),  # A.6.2
        (b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880_127_706, -360, (1997, 11, 21)),  # A.6.3
        (b"Fri, 21 Nov 1997 09:55 -0600", 880_127_700, -360, (1997, 11, 21)),
        (b"Thu,\r\n 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland (in) Time)", -27_723_480, -210,
         (1969, 2, 13)),  # A.5
        (b"Sun Nov  6 08:49:37 1994", 784_111_777, 0, (1994, 11, 6)),  # asctime
        (b"Sun Nov  6 08:49:37 EST 1994", 784_129_777, -300, (1994, 11, 6)),
        (b"6 November 1994 08:49:37 +0000", 784_111_777, 0, (1994, 11, 6)),
        (b"06-Nov-94 08:49:37 PDT", 784_136_977, -420, (1994, 11, 6)),
        (b"Sun, 06 Nov 1994 08:49:37 GMT+0100", 784_108_177, 60, (1994, 11, 6)),
        (b"Sun, 06 Nov 1994 08:49:37 +01:00", 784_108_177, 60, (1994, 11, 6)),
        (b"Sun, 06 Nov 1994 08:49:37", 784_111_777, 0, (1994, 11, 6)),
        (b"Sun, 06 Nov 1994", 784_080_000, 0, (1994, 11, 6)),
        (b"6 Nov 49 00:00:00 Z", 2_519_769_600, 0, (2049, 11, 6)),
        (b"6 Nov 50 00:00:00 A", -604_454_400, 0, (1950, 11, 6)),
        (b"6 Nov 103 00:00:00 UT", 1_068_076_800, 0, (2003, 11, 6)),
        (b"Sun, 06 Nov 1994 08:49:37 +9999", 784_111_777, 0, (1994, 11, 6)),
    ],
)  # fmt: skip
def test_header_date(value: bytes, epoch: int, zone: int, day: tuple[int, int, int]) -> None:
    assert dates.parse_header_date(value) == (epoch, zone)
    assert dates.sent_day(value) == day


@pytest.mark.parametrize(
    "value",
    [b"", b"yesterday", b"(", b"(((((", b"))))", b"31 Feb 2020 00:00:00 +0000", b"1 Foo 2020", b"\xff\xfe",
     b"1/2/2020", b"2020-01-01", b"Mon, 99 Jan 2020 00:00:00 +0000", b"1 Jan 20200 10:00:00 +0000"],
)  # fmt: skip
def test_garbage_is_no_date(value: bytes) -> None:
    assert dates.parse_header_date(value) is None
    assert dates.sent_day(value) is None


def test_the_day_counts_even_where_the_time_of_day_is_impossible() -> None:
    assert dates.parse_header_date(b"1 Jan 2020 25:00:00 +0000") is None
    assert dates.sent_day(b"1 Jan 2020 25:00:00 +0000") == (2020, 1, 1)


@given(st.binary(max_size=300) | st.text("0123456789 :-+JanGMT(,)\\", max_size=300).map(str.encode))
def test_any_field_is_a_date_or_none(value: bytes) -> None:
    found = dates.parse_header_date(value)
    assert found is None or dates.sent_day(value) is not None
