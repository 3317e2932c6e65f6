"""The parameters of MAIL and RCPT, and what they mean.

SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), AUTH (RFC 4954 section 5), RET, ENVID, NOTIFY and ORCPT
(RFC 3461 section 4, RFC 6533 section 3), HOLDFOR and HOLDUNTIL (RFC 4865). REQUIRETLS (RFC 8689) is known, and refused:
what happens to a message behind Graph is not ours to promise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.mailbox.values import UNASKED, Asked
from gateway.smtp.replies import Rejected

_XTEXT = r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})"  # RFC 3461 section 4
_NOTIFY = r"(?:SUCCESS|FAILURE|DELAY)"
# utf-8-addr-unitext or -xtext of RFC 6533 section 3: UTF-8 as it is, or as \x{HEX}
_UTF8 = r"(?:[\x21-\x3c\x3e-\x7e]|[^\x00-\x7f])"
_MAIL = {
    "SIZE": re.compile(r"[0-9]{1,20}"),
    "BODY": re.compile(r"7BIT|8BITMIME", re.IGNORECASE),
    "AUTH": re.compile(rf"{_XTEXT}+|<>"),  # who sent it first: read, not believed
    "SMTPUTF8": re.compile(""),
    "RET": re.compile(r"FULL|HDRS", re.IGNORECASE),
    "ENVID": re.compile(rf"{_XTEXT}{{1,100}}"),
    "HOLDFOR": re.compile(r"[0-9]{1,9}"),
    "HOLDUNTIL": re.compile(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})",
        re.IGNORECASE,
    ),
}
_RCPT = {
    "NOTIFY": re.compile(rf"NEVER|{_NOTIFY}(?:,{_NOTIFY}){{0,2}}", re.IGNORECASE),
    "ORCPT": re.compile(
        rf"(?:[0-9A-Za-z][0-9A-Za-z-]*);(?:{_XTEXT}{{1,500}})|utf-8;{_UTF8}{{1,500}}", re.IGNORECASE
    ),
}
_HEX = re.compile(r"\+([0-9A-F]{2})")
_CODE_POINT = re.compile(r"\\x\{([0-9A-F]{2,6})\}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MailParameters:
    """`size` in octets, 0 if not announced; `hold_until` in seconds since 1970, 0 for at once."""

    size: int = 0
    utf8: bool = False
    ret: str = ""
    envid: str = ""
    hold_until: int = 0


def mail_parameters(given: Mapping[str, str | None], *, now: float, longest_hold: int) -> MailParameters:
    """`longest_hold`: seconds a message may be held back, 0 where it cannot be: then RFC 4865's parameters are not
    known. Rejected with 501 for a hold that is over already, or too long (RFC 4865 section 4)."""
    if "REQUIRETLS" in given:
        raise Rejected(550, "5.7.30", "REQUIRETLS cannot be promised for what Exchange does with the message")
    known = _MAIL if longest_hold else {name: _MAIL[name] for name in _MAIL if not name.startswith("HOLD")}
    check(given, known)
    return MailParameters(
        int(given.get("SIZE") or 0),
        "SMTPUTF8" in given,
        (given.get("RET") or "").upper(),
        _from_xtext(given.get("ENVID") or ""),
        _held(given, int(now), longest_hold),
    )


def rcpt_parameters(given: Mapping[str, str | None]) -> Asked:
    """What is asked about this recipient (RFC 3461 sections 4.1 and 4.2)."""
    check(given, _RCPT)
    if not given:
        return UNASKED
    notify, orcpt = given.get("NOTIFY"), given.get("ORCPT")
    return Asked(None if notify is None else _events(notify), "" if orcpt is None else _original(orcpt))


def check(given: Mapping[str, str | None], known: Mapping[str, re.Pattern[str]]) -> None:
    """555 for what is not known, 501 for a value that is none."""
    for name, value in given.items():
        if name not in known:
            raise Rejected(555, "5.5.4", "Parameter not recognized")
        if not known[name].fullmatch(value or ""):
            raise Rejected(501, "5.5.4", f"Bad value of {name}")


def _events(notify: str) -> frozenset[str]:
    """NEVER is no event at all."""
    return frozenset(notify.upper().split(",")) - {"NEVER"}


def _original(orcpt: str) -> str:
    kind, _, address = orcpt.partition(";")
    decoded = _from_unitext(address) if kind.lower() == "utf-8" else _from_xtext(address)
    return f"{kind};{decoded}"


def _from_xtext(text: str) -> str:
    """What is not printable ASCII has no place in a report's field, nor anywhere else here."""
    found = _HEX.sub(lambda match: chr(int(match[1], 16)), text)
    if not (found.isascii() and found.replace(" ", "x").isprintable()):
        raise Rejected(501, "5.5.4", "Encoded octets that are not printable ASCII")
    return found


def _from_unitext(text: str) -> str:
    try:
        found = _CODE_POINT.sub(lambda match: chr(int(match[1], 16)), text)
        found.encode()
    except (ValueError, OverflowError):
        raise Rejected(501, "5.5.4", "Malformed ORCPT") from None
    if not found.isprintable():
        raise Rejected(501, "5.5.4", "Malformed ORCPT")
    return found


def _held(given: Mapping[str, str | None], now: int, longest: int) -> int:
    """HOLDFOR counts from now, HOLDUNTIL is a date; both together contradict each other."""
    wait, until = given.get("HOLDFOR"), given.get("HOLDUNTIL")
    if wait is None and until is None:
        return 0
    if wait is not None and until is not None:
        raise Rejected(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other")
    at = now + int(wait) if wait is not None else _seconds(until or "")
    if at < now:
        raise Rejected(501, "5.5.4", "The time of release is over")
    if at > now + longest:
        raise Rejected(501, "5.5.4", f"A message can be held for {longest} seconds at most")
    return at


def _seconds(date: str) -> int:
    try:
        return int(datetime.fromisoformat(date.upper()).timestamp())
    except (ValueError, OverflowError):
        raise Rejected(501, "5.5.4", "Bad value of HOLDUNTIL") from None
