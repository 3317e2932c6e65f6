"""OData options and preferences of one request, and the links that continue a page (contract section 4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from gateway.emulator import props
from gateway.emulator.api import Caller, Request, World
from gateway.emulator.errors import GraphError, bad_request
from gateway.emulator.limits import limit
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.post import Post

_OPTIONS: Final = frozenset(
    {
        "$select", "$expand", "$filter", "$orderby", "$top", "$skip", "$count", "$search", "$skiptoken",
        "$deltatoken", "$format", "changetype", "includehiddenfolders", "$levels",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prefer:
    """The preferences of one request, names in lower case; `seen` is what Preference-Applied may echo."""

    immutable: bool = False
    page: int | None = None
    body: str | None = None
    minimal: bool = False
    unsafe_html: bool = False
    applied: str = ""


@lru_cache(maxsize=1024)
def parse_prefer(text: str) -> Prefer:
    """`IdType="ImmutableId", odata.maxpagesize=500` and the outlook preferences; unknown ones are ignored."""
    values: dict[str, str] = {}
    for piece in re.findall(r'(?:[^,"]|"[^"]*")+', text):
        name, _, value = piece.strip().partition("=")
        values[name.strip().lower()] = value.strip().strip('"')
    page = values.get("odata.maxpagesize", values.get("maxpagesize", ""))
    body = values.get("outlook.body-content-type", "").lower()
    applied = []
    if body in ("text", "html"):
        applied.append(f'outlook.body-content-type="{body}"')
    if "outlook.allow-unsafe-html" in values:
        applied.append("outlook.allow-unsafe-html")
    if "outlook.timezone" in values:
        applied.append(f'outlook.timezone="{values["outlook.timezone"]}"')
    return Prefer(
        immutable=values.get("idtype", "").lower() == "immutableid",
        page=int(page) if page.isdigit() and int(page) > 0 else None,
        body=body if body in ("text", "html") else None,
        minimal=values.get("return", "").lower() == "minimal",
        unsafe_html="outlook.allow-unsafe-html" in values,
        applied=", ".join(applied),
    )


@dataclass(frozen=True, slots=True)
class Expand:
    """What `$expand` asks for: extended properties by id, attachments, extensions by name (None: all)."""

    properties: tuple[tuple[str, props.Prop], ...] = ()
    attachments: bool = False
    extensions: tuple[str, ...] | None = None
    children: bool = False
    item: bool = False

    @property
    def wants_properties(self) -> bool:
        return bool(self.properties)


@dataclass(frozen=True, slots=True)
class Options:
    """The query options of one request, checked as far as the entity set does not matter."""

    select: tuple[str, ...] | None = None
    expand: Expand = field(default_factory=Expand)
    filter: str | None = None
    orderby: tuple[tuple[str, bool], ...] = ()  # (path in lower case, descending)
    top: int | None = None
    skip: int = 0
    count: bool = False
    search: str | None = None
    skiptoken: str | None = None
    deltatoken: str | None = None
    hidden: bool = False
    change_types: frozenset[str] = frozenset()


def parse_options(query: Mapping[str, str]) -> Options:
    """Read the options; an unknown `$name` is a 400, other unknown names are ignored."""
    found: dict[str, str] = {}
    for name, value in query.items():
        key = name.lower()
        if not key.startswith("$") and f"${key}" in _OPTIONS:
            key = f"${key}"
        if key.startswith("$") and key not in _OPTIONS:
            raise bad_request(f"The query parameter '{name}' is not supported.", "RequestBroker--ParseUri")
        found[key] = value
    return Options(
        select=_select(found.get("$select")),
        expand=parse_expand(found.get("$expand", "")),
        filter=found.get("$filter") or None,
        orderby=_orderby(found.get("$orderby", "")),
        top=_number(found, "$top"),
        skip=_number(found, "$skip") or 0,
        count=_flag(found, "$count"),
        search=found.get("$search"),
        skiptoken=found.get("$skiptoken"),
        deltatoken=found.get("$deltatoken"),
        hidden=_flag(found, "includehiddenfolders"),
        change_types=frozenset(
            t.strip().lower() for t in found.get("changetype", "").split(",") if t.strip()
        ),
    )


def _select(text: str | None) -> tuple[str, ...] | None:
    names = tuple(n.strip().lower() for n in (text or "").split(",") if n.strip())
    return names or None


def _orderby(text: str) -> tuple[tuple[str, bool], ...]:
    keys = []
    for piece in text.split(","):
        words = piece.split()
        if not words:
            continue
        if len(words) > 2 or (len(words) == 2 and words[1].lower() not in ("asc", "desc")):
            raise bad_request("Syntax error in the $orderby clause.")
        keys.append((words[0].lower(), len(words) == 2 and words[1].lower() == "desc"))
    return tuple(keys)


def _number(found: Mapping[str, str], name: str) -> int | None:
    if name not in found:
        return None
    if not re.fullmatch(r"\d{1,9}", found[name]):
        raise bad_request(f"Invalid value '{found[name]}' for {name} query option found.")
    return int(found[name])


def _flag(found: Mapping[str, str], name: str) -> bool:
    value = found.get(name, "false").lower()
    if value not in ("true", "false"):
        raise bad_request(f"Invalid value '{value}' for {name} query option found.")
    return value == "true"


# -- $expand ---------------------------------------------------------------------------------------

_ID_TERM = re.compile(r"\s*(?:\w+/)?id\s+eq\s+'((?:[^']|'')*)'\s*", re.IGNORECASE)
_OR = re.compile(r"\s+or\s+|\Z", re.IGNORECASE)


def split_top(text: str, mark: str = ",") -> list[str]:
    """Split at `mark` outside parentheses and quotes."""
    pieces, depth, quoted, start = [], 0, False, 0
    for at, char in enumerate(text):
        if char == "'":
            quoted = not quoted
        elif not quoted and char in "()":
            depth += 1 if char == "(" else -1
        elif char == mark and not depth and not quoted:
            pieces.append(text[start:at])
            start = at + 1
    return [p.strip() for p in (*pieces, text[start:]) if p.strip()]


@lru_cache(maxsize=1024)
def parse_expand(text: str) -> Expand:
    """Read `$expand`; what mail does not know is a 400."""
    properties: list[tuple[str, props.Prop]] = []
    attachments = children = item = False
    extensions: tuple[str, ...] | None = None
    for piece in split_top(text):
        name, _, rest = piece.partition("(")
        inner = rest[:-1] if rest.endswith(")") else rest
        key = name.strip().lower()
        if key in ("singlevalueextendedproperties", "multivalueextendedproperties"):
            properties += [(i, _property(i)) for i in _ids(inner)] if key.startswith("single") else []
        elif key == "attachments":
            attachments = True
        elif key == "extensions":
            extensions = tuple(_ids(inner)) if inner else ()
        elif key == "childfolders":
            children = True
        elif key in ("microsoft.graph.itemattachment/item", "microsoft.graph.eventmessage/event"):
            item = True
        else:
            raise _unknown(f"Could not find a property named '{name}' on type 'microsoft.graph.message'.")
    return Expand(tuple(properties), attachments, extensions, children, item)


def _unknown(text: str) -> GraphError:
    return bad_request(f"Parsing OData Select and Expand failed: {text}")


def _ids(inner: str) -> list[str]:
    name, _, condition = inner.partition("=")
    if name.strip().lower() not in ("$filter", "filter") or ";" in inner:
        raise _unknown("a $filter on id is expected.")
    ids, at = [], 0
    while at < len(condition):
        term = _ID_TERM.match(condition, at)
        joint = (
            _OR.match(condition, term.end() - 1 if condition[term.end() - 1].isspace() else term.end())
            if term
            else None
        )
        if term is None or joint is None:
            raise bad_request("Invalid filter clause in $expand.", "ErrorInvalidUrlQueryFilter")
        ids.append(term.group(1).replace("''", "'"))
        at = joint.end()
    return ids


def _property(text: str) -> props.Prop:
    found = props.parse(text)
    if found is None:
        raise bad_request(f"The extended property id '{text}' is invalid.", "ErrorInvalidProperty")
    return found


# -- the request in its mailbox --------------------------------------------------------------------


@dataclass(slots=True)
class Context:
    """One request against one mailbox."""

    request: Request
    box: Mailbox
    world: World
    prefer: Prefer
    options: Options
    uploads: dict[str, Any]  # the tenant's upload sessions by token
    post: Post
    basic: bool = False  # the token may read headers only

    @property
    def caller(self) -> Caller:
        return self.request.caller

    @property
    def beta(self) -> bool:
        return self.request.version == "beta"

    def rule(self, name: str) -> bool:
        return self.world.rules.on(name)

    def page_size(self) -> int:
        """Items of a list page: `$top` or the preference, 10 without either."""
        most = int(limit(self.world, "page_list"))
        wanted = self.options.top if self.options.top is not None else self.prefer.page
        if wanted is None:
            return int(limit(self.world, "page_default")) if self.rule("page-default-10") else 100
        if self.options.top is not None and not 0 <= self.options.top <= most:
            raise bad_request(f"The value of $top must be between 1 and {most}.", "ErrorInvalidTop")
        return min(wanted, most)

    def link(self, replaced: Mapping[str, str | int | None]) -> str:
        """This request's URL with query options replaced (None: left out)."""
        query = {**self.request.query, **{k: str(v) for k, v in replaced.items() if v is not None}}
        for name, value in replaced.items():
            if value is None:
                query.pop(name, None)
        return self.url(query)

    def url(self, query: Mapping[str, str]) -> str:
        text = "&".join(f"{quote(k, safe='$')}={quote(v, safe='')}" for k, v in query.items())
        return f"{self.request.base}{self.request.path}" + (f"?{text}" if text else "")

    def metadata(self, tail: str) -> str:
        return f"{self.request.base}/$metadata#users('{self.box.guid}')/{tail}"
