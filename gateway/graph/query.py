"""Paths, queries and links: how a call's address is spelled, and which links may be followed.

The `$` of option names and the quotes of OData literals stay as they are; everything else that is not
unreserved is percent-encoded (contract section 4; `+`, `<` and `>` of Message-IDs above all).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, unquote, urlsplit

from gateway.graph.errors import BadId, Invalid

_PATH_SAFE = "@=-_.~"
_QUERY_SAFE = "$'(),:/=@*-_.~"
_FIELD = re.compile(r"\{(\w+)\}")
_PORTS = {"http": 80, "https": 443}
_EPOCH = "1900-01-01T00:00:00Z"


def path(template: str, args: Mapping[str, str]) -> str:
    """`template` with each `{name}` replaced by its encoded argument.

    An empty or dotted argument is BadId: `DELETE /messages/` would name the collection.
    """
    return _FIELD.sub(lambda match: _segment(args[match[1]]), template)


def _segment(value: str) -> str:
    if value in {"", ".", ".."}:
        raise BadId("empty or relative id", code="ErrorInvalidIdMalformed")
    return quote(value, safe=_PATH_SAFE)


def query(options: Mapping[str, str | None]) -> str:
    """`?name=value&...` of the options that are not None, in their order; '' if there are none."""
    pairs = [
        f"{name}={quote(value, safe=_QUERY_SAFE)}" for name, value in options.items() if value is not None
    ]
    return "?" + "&".join(pairs) if pairs else ""


def literal(text: str) -> str:
    """An OData string literal: quotes doubled (contract section 4)."""
    return "'" + text.replace("'", "''") + "'"


def select(fields: Iterable[str]) -> str | None:
    return ",".join(fields) or None


def expand(properties: Sequence[str]) -> str | None:
    """`$expand` of the named extended properties; None for none."""
    if not properties:
        return None
    wanted = " or ".join(f"id eq {literal(name)}" for name in properties)
    return f"singleValueExtendedProperties($filter={wanted})"


def ordered_filter(filter: str | None, order: str | None) -> str | None:
    """A filter that may stand beside `$orderby`: the sorted property comes first in it (trap 37)."""
    if filter is None or order is None:
        return filter
    key = order.split()[0].split(",")[0]
    return filter if filter.startswith(key) else f"{key} ge {_EPOCH} and ({filter})"


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)


def pinned(base_url: str, link: str) -> str:
    """`link` if a bearer token may be sent there: same scheme, host, port and path prefix as `base_url`, no
    user part, no climbing out of the prefix (trap 41). Else Invalid with code `ForeignLink`.
    """
    try:
        parts = urlsplit(link)
        same = _origin(link) == _origin(base_url)
    except ValueError:
        same = False
    if not same or parts.username is not None or not _below(urlsplit(base_url).path, parts.path):
        raise Invalid("a link that leaves Graph was not followed", code="ForeignLink")
    return link


# Where upload sessions live beside Graph itself (contract section 1.1), and their kin in national clouds.
UPLOAD_HOSTS = frozenset(
    {"outlook.office.com", "outlook.office365.com", "outlook.office365.us", "outlook-dod.office365.us",
     "partner.outlook.cn", "outlook.office.de"}
)  # fmt: skip


def pinned_upload(base_url: str, link: str) -> str:
    """`link` if a message's content may be sent there without a token: Graph's own host, or one of Exchange's over
    https (trap 41). Else Invalid with code `ForeignLink`."""
    try:
        parts = urlsplit(link)
        origin = _origin(link)
        known = origin == _origin(base_url) or (origin[0::2] == ("https", 443) and origin[1] in UPLOAD_HOSTS)
    except ValueError:
        known = False
    if not known or parts.username is not None:
        raise Invalid("an upload URL of another host was not followed", code="ForeignLink")
    return link


def _below(prefix: str, link_path: str) -> bool:
    segments = unquote(link_path).replace("\\", "/").split("/")
    return link_path.startswith(prefix.rstrip("/") + "/") and ".." not in segments
