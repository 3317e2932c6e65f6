"""What a transcript's `fixture` lines ask for."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import trustme

from gateway.core.limits import DEFAULT_LIMITS, Limits

USER, PASSWORD = "alice@example.com", "demo"
_WORD = re.compile(r'"([^"]*)"|(\S+)')


def words(text: str) -> list[str]:
    """Split at blanks; "quoted words" stay whole."""
    return [quoted or plain for quoted, plain in _WORD.findall(text)]


@dataclass(slots=True)
class Options:
    """`steps`: things to do before the first line (`backend.Backend.outside`)."""

    limits: Limits = DEFAULT_LIMITS
    plaintext: bool = True
    tls: bool = False
    # greeting, connected, login, select, examine: where a connection's first line finds it
    start: str = "select"
    steps: list[list[str]] = field(default_factory=list)
    # -- heeded by the real backend alone --
    only: str = ""  # the one backend the transcript is for
    scram: bool = False  # every user has a verifier
    cold: bool = False  # begin while nothing is known of the mailbox
    language: str = "en"
    poll: float = 3600.0  # seconds between polls of an open mailbox; so long, none comes unasked for
    patience: float = 10.0  # seconds a Graph call is repeated; short where Graph is meant to fail
    expunge: str = "trash"
    refuse_raw_headers: bool = False
    labels: list[str] = field(default_factory=list)
    admin: str = ""
    quota: int = 0  # octets
    search_body: str = "auto"
    search_fetch: int = 200  # messages one SEARCH reads at most
    message_limit: int = 0  # MESSAGELIMIT
    tombstones: int = 65_536  # expunged UIDs the store remembers of a folder
    push: bool = False  # Graph tells of changes (`pushed`)
    lags: dict[str, float] = field(default_factory=dict)  # limits of the emulator

    @classmethod
    def of(cls, lines: Sequence[str]) -> Options:
        options = cls()
        for line in lines:
            word, *rest = words(line)
            _FIXTURES[word](options, rest)
        return options


def _limits(options: Options, given: list[str]) -> None:
    pairs = (word.split("=") for word in given)
    options.limits = replace(options.limits, **{name: type(getattr(DEFAULT_LIMITS, name))(value)
                                                for name, value in pairs})  # fmt: skip


def _lags(options: Options, given: list[str]) -> None:
    options.lags.update({name: float(value) for name, value in (word.split("=") for word in given)})


def _set(name: str, value: object) -> Callable[[Options, list[str]], None]:
    return lambda options, given: setattr(options, name, value)


def _read(name: str, kind: type = str) -> Callable[[Options, list[str]], None]:
    return lambda options, given: setattr(options, name, kind(given[0]))


def _step(verb: str, *first: str) -> Callable[[Options, list[str]], None]:
    return lambda options, given: options.steps.append([verb, *first, *given])


_FIXTURES: dict[str, Callable[[Options, list[str]], None]] = {
    "limits": _limits,
    "no-plaintext": _set("plaintext", False),
    "tls": _set("tls", True),
    "start": _read("start"),
    "only": _read("only"),
    "cold": _set("cold", True),
    "scram": _set("scram", True),
    "language": _read("language"),
    "poll": _read("poll", float),
    "patience": _read("patience", float),
    "expunge": _read("expunge"),
    "refuse-raw-headers": _set("refuse_raw_headers", True),
    "admin": _read("admin"),
    "quota": _read("quota", int),
    "search-body": _read("search_body"),
    "search-fetch": _read("search_fetch", int),
    "message-limit": _read("message_limit", int),
    "tombstones": _read("tombstones", int),
    "push": _set("push", True),
    "no-archive": _step("lack", "archive"),
    "labels": lambda options, given: options.labels.extend(given),
    "lags": _lags,
    # `inbox 3`: three standard messages; everything else is a step of the O: lane
    "inbox": _step("fill", "INBOX"),
    **{verb: _step(verb) for verb in ("fill", "deliver", "create", "rename", "flags", "unsubscribe")},
}


def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for a server on localhost, and for a client that trusts it."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
