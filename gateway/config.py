"""The one configuration file (TOML), every key also as environment `GATEWAY_SECTION__KEY`.

Environment beats file. An unknown key, a wrong type or a missing value is a `ConfigError` that names the file's line
and the key; nothing starts with a doubtful configuration.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from gateway.core.limits import DEFAULT_LIMITS, MIB
from gateway.mailbox.credentials import scram_of
from gateway.relays import RelaySection, problems

ENV_PREFIX = "GATEWAY_"
ENV_DELIMITER = "__"


class ConfigError(Exception):
    """One line: the file, the line and the key, and what to do."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GraphSection(Section):
    """Where Graph is and as whom the gateway signs in."""

    base_url: str = "https://graph.microsoft.com/v1.0"
    authority: str = "https://login.microsoftonline.com/organizations"
    ca_file: Path | None = None  # PEM; None = the system's
    client_id: str = ""
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    certificate_file: Path | None = None  # PEM with key and certificate
    http2: bool = False
    timeout: float = Field(default=DEFAULT_LIMITS.graph_timeout, gt=0)

    @field_validator("base_url", "authority")
    @classmethod
    def _url(cls, value: str) -> str:
        if not re.match(r"https?://[^/\s]+", value):
            raise ValueError("must be an http(s) URL")
        return value.rstrip("/")

    def secret(self) -> str | None:
        """The client secret, from the file if one is named."""
        if self.client_secret_file is not None:
            return self.client_secret_file.read_text().strip()
        return None if self.client_secret is None else self.client_secret.get_secret_value()


class StateSection(Section):
    dir: Path = Path("/var/lib/graph-mail-gateway")
    cache_mib: int = Field(default=1024, ge=0)  # encrypted disk tier of bodies; 0 = none
    memory_mib: int = Field(default=DEFAULT_LIMITS.body_memory // MIB, ge=1)


class StoreSection(Section):
    """Where UIDs, flags and what must outlive the process are kept."""

    url: SecretStr | None = None  # postgresql://...; None = a file in the state folder
    connections: int = Field(default=8, ge=2, le=100)  # to PostgreSQL, and one more
    node: str = Field(default="", max_length=200)  # this gateway's name among several; "" = host and process
    lease: float = Field(default=15.0, ge=1.0, le=600.0)  # seconds without a sign until others take over

    @field_validator("url")
    @classmethod
    def _postgres(cls, value: SecretStr | None) -> SecretStr | None:
        text = "" if value is None else value.get_secret_value()
        if text and not re.match(r"postgres(ql)?://", text):
            raise ValueError("must be a postgresql:// URL")
        return value if text else None


class TlsSection(Section):
    """Certificate and key for IMAP and SMTP; without them only plain ports, on loopback."""

    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _both(self) -> TlsSection:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class ImapSection(Section):
    host: str = "127.0.0.1"
    port: int | None = Field(default=143, ge=0, le=65535)  # STARTTLS; absent = none
    tls_port: int | None = Field(default=993, ge=0, le=65535)
    allow_plaintext: bool = False  # logins without TLS; for loopback only
    prefetch: int = Field(
        default=8, ge=0, le=100
    )  # messages ahead of a client that reads one by one; 0 = none
    size_share: int = Field(default=20, ge=0, le=50)  # percent of the requests, to make sizes exact; 0 = none
    append_limit: int = Field(default=DEFAULT_LIMITS.append_landable, ge=64 * 1024)
    rfc822_size: Literal["exact", "hybrid", "estimate"] = "hybrid"
    expunge: Literal["trash", "permanent"] = "trash"
    read_receipts: Literal["suppress", "send"] = "suppress"
    poll_interval: float = Field(default=15.0, ge=0.1)  # seconds
    admin: str = Field(
        default="", pattern=r"^([A-Za-z][A-Za-z0-9+.-]*:\S+)?$"
    )  # URI, /shared/admin of METADATA
    labels: tuple[str, ...] = (
        "Red category",
        "Orange category",
        "Green category",
        "Blue category",
        "Purple category",
    )
    connections_per_address: int = Field(default=DEFAULT_LIMITS.connections_per_address, ge=1)
    connections_per_user: int = Field(default=DEFAULT_LIMITS.connections_per_user, ge=1)
    compressed_connections: int = Field(default=DEFAULT_LIMITS.compressed_connections, ge=0)
    literals: Literal["plus", "minus"] = "plus"  # LITERAL+ or LITERAL-, RFC 7888
    login_delay: float = Field(default=DEFAULT_LIMITS.login_delay, ge=0)
    # 8-bit header fields in APPEND without ENABLE UTF8=ACCEPT
    raw_headers: Literal["accept", "refuse"] = "accept"
    message_limit: int = Field(default=0, ge=0)  # messages of one command, MESSAGELIMIT; 0 = any number

    @field_validator("message_limit")
    @classmethod
    def _usable_limit(cls, limit: int) -> int:
        """RFC 9738 section 3 asks for 1000 at least."""
        if 0 < limit < 1000:
            raise ValueError("0, or at least 1000")
        return limit


class SearchSection(Section):
    """What SEARCH BODY and TEXT do about messages whose text is not known here."""

    body: Literal["auto", "exact", "index"] = "auto"
    fetch_at_most: int = Field(default=200, ge=0)  # messages read for one search, but for "exact"
    text_mib: int = Field(default=512, ge=0)  # encrypted texts kept for searching; 0 = none


class SubmissionSection(Section):
    host: str = "127.0.0.1"
    port: int | None = Field(default=587, ge=0, le=65535)
    tls_port: int | None = Field(default=465, ge=0, le=65535)
    allow_plaintext: bool = False
    # octets of a message, announced by SIZE: what Exchange lets the mailbox send (at most 150 MB)
    max_size: int = Field(default=DEFAULT_LIMITS.message, ge=64 * 1024, le=150 * MIB)
    # To or Cc names somebody whom RCPT TO does not: refuse the message, or take him out and show him in X-Submitted-To
    header_mismatch: Literal["refuse", "bcc-copy"] = "refuse"
    hostname: str = "localhost"
    mode: Literal["direct", "queue"] = "direct"  # 250 after Graph's answer, or after a row in the outbox
    path: Literal["draft", "mime"] = "draft"  # how: decision 51
    # seconds in which the same octets are the client's retry, if it may not have heard our 250
    retry_window: int = Field(default=7200, ge=0, le=4 * 86_400)
    queue_hours: int = Field(default=48, ge=1, le=14 * 24)  # until the outbox gives up
    mark_answered: bool = True  # \Answered, $Forwarded on what a submission answers or forwards
    mail_tips: bool = False  # ask Exchange about recipients at RCPT, one request for those named together
    # seconds, FUTURERELEASE; 0, or path = "mime": not offered
    longest_hold: int = Field(default=30 * 86_400, ge=0, le=365 * 86_400)


class WebSection(Section):
    host: str = "127.0.0.1"
    port: int | None = Field(default=8080, ge=0, le=65535)
    public_url: str = ""  # https: where Graph reaches this port to post change notifications; "" = polling

    @field_validator("public_url")
    @classmethod
    def _https(cls, value: str) -> str:
        if value and not re.match(r"https://[^/\s?#]+[^\s?#]*$", value):
            raise ValueError("must be an https URL without query")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _listens(self) -> WebSection:
        if self.public_url and self.port is None:
            raise ValueError("public_url needs port: notifications arrive there")
        return self


class LogSection(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class AccountSection(Section):
    """A local user and the mailbox behind it. `auth = "app"` uses the app's own rights to the mailbox
    (client secret or certificate), `"delegated"` what `gateway account login` got."""

    user: str = Field(min_length=1, max_length=320)
    password_hash: str = Field(pattern=r"^\$argon2id\$")  # and behind it, perhaps, a SCRAM-SHA-256 verifier
    mailbox: str = ""  # UPN or guid; default: user
    auth: Literal["app", "delegated"] = "app"
    quota_mib: int = Field(default=0, ge=0)  # what Exchange lets the mailbox hold, for QUOTA; 0 = not told
    senders: tuple[
        str, ...
    ] = ()  # as whom it may send beside itself, `*@domain` for all of one; none: not known

    shared: bool = False  # with "delegated": the mailbox is not of who signs in, who has full access to it

    @property
    def known_senders(self) -> tuple[str, ...]:
        """As whom it may send, if that is known: itself is always among them."""
        own = (each for each in (self.user, self.mailbox) if "@" in each)
        return (*own, *self.senders) if self.senders else ()

    @model_validator(mode="after")
    def _whose(self) -> AccountSection:
        if self.shared and (self.auth != "delegated" or not self.mailbox):
            raise ValueError('shared needs auth = "delegated", and mailbox')
        return self

    @field_validator("senders")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not re.fullmatch(r"[^\s<>@]+@[^\s<>@*]+", each) or ("*" in each and not each.startswith("*@")):
                raise ValueError(f"{each!r} is neither an address nor *@domain")
        return value

    @field_validator("password_hash")
    @classmethod
    def _verifier(cls, value: str) -> str:
        scram_of(value)
        return value


class Config(BaseSettings):
    """All sections. Made by `load`."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        case_sensitive=False,
    )

    graph: GraphSection = GraphSection()
    state: StateSection = StateSection()
    store: StoreSection = StoreSection()
    tls: TlsSection = TlsSection()
    imap: ImapSection = ImapSection()
    search: SearchSection = SearchSection()
    submission: SubmissionSection = SubmissionSection()
    web: WebSection = WebSection()
    log: LogSection = LogSection()
    accounts: tuple[AccountSection, ...] = ()
    relay: tuple[RelaySection, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @model_validator(mode="after")
    def _users_differ(self) -> Config:
        users = [account.user.lower() for account in self.accounts]
        if len(set(users)) != len(users):
            raise ValueError("two accounts have the same user")
        return self


def load(path: Path) -> Config:
    """The configuration of a file and the environment. ConfigError says in one line what is wrong and where."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not TOML: not UTF-8") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return from_values(values, origin=str(path), text=text)


def from_values(values: Mapping[str, Any], *, origin: str, text: str = "") -> Config:
    try:
        config = Config(**values)
    except SettingsError as error:  # a table in the environment is JSON
        raise ConfigError(f"environment: {error}; a table there is written as JSON") from error
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(origin, text, problem) for problem in error.errors())) from error
    found = problems(config.relay, [account.user for account in config.accounts])
    if told := [_explain(origin, text, {"loc": where, "type": "", "msg": reason}) for where, reason in found]:
        raise ConfigError("\n".join(told))
    return config


def _explain(origin: str, text: str, problem: Mapping[str, Any]) -> str:
    where = tuple(problem["loc"])
    key = ".".join(str(piece) for piece in where) or "(file)"
    line = line_of(text, where)
    place = f"{origin}:{line}" if line else origin
    if (variable := _variable(where)) is not None:
        place = f"environment {variable}"
    reason = _REASONS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    return f"{place}: {key}: {reason}"


def _variable(where: Sequence[str | int]) -> str | None:
    """The environment variable that set this key: it beats the file."""
    wanted = ENV_PREFIX + ENV_DELIMITER.join(str(piece) for piece in where)
    return next((name for name in os.environ if name.upper() == wanted.upper()), None)


_REASONS = {
    "extra_forbidden": "unknown key; see conf/example.toml for those there are",
    "missing": "this key is needed",
}

_TABLE = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*("?)([A-Za-z0-9_.-]+)\1\s*=""")


def line_of(text: str, where: Sequence[str | int]) -> int:
    """The line (from 1) of the key, or of the nearest table around it; 0 if it is not in the file."""
    table: tuple[str | int, ...] = ()
    counts: dict[str, int] = {}
    best, best_length = 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        if found := _TABLE.match(line):
            table = _table_path(found, counts)
            at = table
        elif found := _KEY.match(line):
            at = (*table, *found[2].split("."))
        else:
            continue
        if len(at) > best_length and tuple(where[: len(at)]) == at:
            best, best_length = number, len(at)
    return best


def _table_path(found: re.Match[str], counts: dict[str, int]) -> tuple[str | int, ...]:
    name = found[2].strip().strip('"')
    if found[1] == "[":
        return tuple(name.split("."))
    index = counts.get(name, 0)
    counts[name] = index + 1
    return (*name.split("."), index)
