"""Every number the model goes by; `POST limits` overrides one by its name, in its unit."""

from __future__ import annotations

from typing import Final

from gateway.emulator.api import World

DEFAULTS: Final[dict[str, float]] = {
    "body_bytes": 4 * 1024 * 1024,  # contract 9.1: the 4 MB request limit
    "message_bytes": 150 * 1024 * 1024,  # largest message Exchange can be told to take
    "send_bytes": 35 * 1024 * 1024,  # contract 10.4: default send limit
    "recipients": 500,  # contract 10.5
    "mail_tips": 100,  # addresses in one getMailTips [guess]
    "external_bytes": 25 * 1024 * 1024,  # what leaves the tenant, by the tips [guess]
    "attachment_bytes": 3 * 1024 * 1024,  # contract 10.4: from here on an upload session is a must
    "upload_chunk_bytes": 4 * 1024 * 1024,
    "upload_seconds": 3600.0,  # life of an upload URL
    "quota_bytes": 100 * 1024**3,  # a mailbox
    "filter_nodes": 60,  # comparisons in one $filter
    "url_bytes": 8192,  # contract 6.3
    "page_default": 10,
    "page_list": 1000,
    "page_delta": 512,
    "search_results": 1000,
    "delta_filter_items": 5000,
    "delta_log": 2_000_000,  # change log entries per folder before the oldest tokens die
    "list_property_chars": 255,  # trap 54
    "sent_copy_seconds": 0.5,
    "delta_lag_seconds": 0.2,
    "search_lag_seconds": 1.0,
    "counts_lag_seconds": 0.2,
    "fresh_404_seconds": 0.2,
    "conflict_seconds": 1.0,
    "rules_race_seconds": 0.3,
    "subscriptions": 1000,  # contract 13: active ones of a mailbox
    "subscription_minutes": 10080,  # the latest expiry
    "subscription_least_minutes": 45,  # sooner ones are raised to it
    "webhook_validation_seconds": 10.0,
    "notice_answer_seconds": 3.0,  # a subscriber has for its 2xx
    "notice_seconds": 0.1,  # from a change to its notification; the service takes up to 3 minutes
    "notice_batch": 50,  # notifications in one POST
    "notice_retry_seconds": 5.0,  # the first pause, doubled each time
    "notice_patience_seconds": 4 * 3600.0,
    "drip_ms": 0.0,  # before each 64 KiB of a streamed answer
}


def limit(world: World, name: str) -> float:
    """The limit in force; KeyError for a name never declared."""
    return world.limits.get(name, DEFAULTS[name])


def lag(world: World, rule: str, name: str) -> float:
    """Seconds of delay `name` while `rule` is on, else 0."""
    return limit(world, name) if world.rules.on(rule) else 0.0
