"""Every bound, once: name, unit, reply. Tests make them tiny.

All values are the defaults of `Limits`; the configuration may change those marked (config).
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
LITERAL_MINUS = 4096  # octets of a non-synchronizing literal under LITERAL-, RFC 7888 section 5


@dataclass(frozen=True, slots=True)
class Limits:
    # -- IMAP framing: what a peer may make us hold --
    line: int = 64 * KIB  # octets of one command without its literals; beyond: BAD [TOOBIG], line swallowed
    command_literal: int = 64 * KIB  # octets of one literal outside APPEND, after login: NO [TOOBIG]
    literal_before_login: int = 8 * KIB  # octets: BAD [TOOBIG]
    literals_per_command: int = 1000
    unannounced_literal: int = 2**63  # (config) octets of a {n+}; LITERAL- has 4096, beyond: BAD [TOOBIG]
    command_total: int = 1 * MIB  # octets of one command with all its literals (not APPEND's message)
    append: int = 150 * MIB  # (config) octets of one APPEND, all its messages: NO [LIMIT]
    append_messages: int = 1000  # of one APPEND (RFC 3502): NO [LIMIT]
    append_landable: int = 35 * MIB  # (config) octets that the mailbox's own size limit lets us land
    swallow_factor: int = 2  # an oversized {n+} up to this times `append` is dropped, then NO; beyond: BYE
    paren_depth: int = 32  # nesting of lists and search keys
    search_depth: int = 100  # nesting of NOT and OR, parentheses included; a chain of ORs is not nesting
    list_items: int = 10_000  # items in one parenthesised list
    list_patterns: int = 100  # mailbox patterns of one LIST
    search_keys: int = 1000
    sort_criteria: int = 50  # of one SORT
    search_hits: int = 1000  # that Graph's index tells of one search: ranges of days beyond
    search_calls: int = 64  # index queries for one SEARCH; beyond, an untagged OK says that hits are missing
    search_strings: int = 16  # strings of one SEARCH the index is asked for: NO [LIMIT]
    search_text: int = 256 * KIB  # characters of one message's kept text
    search_mailboxes: int = 500  # mailboxes one ESEARCH looks into: NO [LIMIT]
    notify_groups: int = 100  # event groups of one NOTIFY (RFC 5465): NO [LIMIT]
    notify_items: int = 100  # FETCH items of one event: NO [LIMIT]
    notify_mailboxes: int = 1000  # mailboxes one session listens to: NO, or later OK, [NOTIFICATIONOVERFLOW]
    updated_searches: int = 16  # of one session (RFC 5267): [NOUPDATE] beyond
    updated_results: int = 100_000  # messages in the updated searches of one session: [NOUPDATE]
    sequence_ranges: int = 20_000  # ranges in one sequence set
    keywords_per_store: int = 100
    keyword_octets: int = 3072  # a category of 255 characters, each written =XX=XX=XX=XX
    keywords_per_mailbox: int = 1000  # beyond: NO [LIMIT], and no \\* in PERMANENTFLAGS
    mailbox_name_octets: int = 1024  # of the encoded name
    mailbox_depth: int = 50
    # -- annotations (RFC 5464): what a client may keep here --
    metadata_value: int = 32 * KIB  # octets of one value: NO [METADATA MAXSIZE n]
    metadata_name: int = 255  # octets of an entry's name: NO [LIMIT]
    metadata_entries: int = 100  # of one mailbox, or of the server: NO [METADATA TOOMANY]; and of one command
    metadata_total: int = 8 * MIB  # octets of all values of an account: NO [METADATA TOOMANY]
    pipelined: int = 16  # commands parsed ahead of the one that runs
    # -- output --
    flush: int = 64 * KIB  # octets gathered before a write
    rows_per_batch: int = 256
    # -- sessions --
    connections: int = 10_000  # of one process
    connections_per_address: int = 250
    connections_per_user: int = 250
    compressed_connections: int = 1000  # (config) of one process, 140 KB each: NO [LIMIT]; 0: not offered
    bad_commands: int = 50  # BADs in a row before BYE
    login_attempts: int = 5  # of one connection before BYE
    login_delay: float = 2.0  # seconds before a failed login is answered
    login_timeout: float = 120.0  # seconds not authenticated
    idle_timeout: float = 30 * 60.0  # seconds, RFC 9051 section 5.4
    # -- bodies --
    body_memory: int = 256 * MIB  # octets of message bodies in memory, all accounts
    body_spool: int = 8 * MIB  # a `$value` above this is kept in the encrypted spool, not in memory
    spool_in_flight: int = 512 * MIB  # octets of APPEND and DATA in flight, all sessions
    # -- MIME --
    mime_parts: int = 10_000
    mime_depth: int = 100
    header_octets: int = 1 * MIB
    mime_parameters: int = 500  # of one header field, RFC 2231 pieces included
    addresses: int = 10_000  # of one header field
    # -- Graph --
    in_flight: int = 4  # requests of one mailbox
    requests_per_10min: int = 9_600
    upload_per_5min: int = 140 * MIB
    page: int = 500  # items of a listing page
    request_body: int = 4 * MIB  # octets of one Graph request, base64 included
    inline_attachment: int = 3 * MIB  # above: upload session
    graph_timeout: float = 60.0  # seconds for one request
    graph_patience: float = 120.0  # seconds all tries of one call together
    change_log: int = 65_536  # changes an index remembers for laggards
    # -- SMTP --
    recipients: int = 500  # 452 4.5.3 beyond; LIMITS announces it
    transactions: int = 10_000  # of one connection, LIMITS announces it (RFC 9422): 421 4.5.3 beyond
    message: int = 35 * MIB  # (config) octets of one submission, SIZE announces it


DEFAULT_LIMITS = Limits()
