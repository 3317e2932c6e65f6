"""The web port: health, readiness, and metrics read from the counters of the parts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.imap.context import Counters as ImapCounters
from gateway.smtp.server import Counters as SmtpCounters
from gateway.web.metrics import READINGS, Content, Metrics, Sources
from gateway.web.server import WebServer, application


@dataclass
class ImapFront:
    counters: ImapCounters = field(default_factory=ImapCounters)
    open_connections: int = 0


@dataclass
class SmtpFront:
    counters: SmtpCounters = field(default_factory=SmtpCounters)
    open_connections: int = 0


@dataclass
class Cache:
    hits: int = 0
    disk_hits: int = 0
    misses: int = 0
    memory_octets: int = 0
    disk_octets: int = 0


@dataclass
class Spools:
    used: int = 0


@dataclass
class World:
    """A gateway's counters, its web application, and what `/readyz` and a scrape ask."""

    imap: ImapFront = field(default_factory=ImapFront)
    smtp: SmtpFront = field(default_factory=SmtpFront)
    cache: Cache = field(default_factory=Cache)
    spools: Spools = field(default_factory=Spools)
    contents: list[Content] = field(default_factory=list)
    originals: int = 0
    measured: int = 0
    reasons: list[str] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        sources = Sources(
            self.imap, self.smtp, self.cache, self.spools, lambda: self.contents, lambda: self.originals
        )
        self.metrics.read(sources)

    async def measure(self) -> None:
        self.measured += 1
        self.originals = 1000 * self.measured

    async def get(self, path: str) -> httpx.Response:
        app = application(self.metrics.registry, lambda: self.reasons, self.measure)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://web") as client:
            return await client.get(path)

    async def values(self) -> dict[str, float]:
        """Every sample by its name and its label values, in order of the label names."""
        answer = await self.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        return {
            " ".join([sample.name, *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }


# -- health --


async def test_healthz_answers_whatever_else_is_wrong() -> None:
    answer = await World(reasons=["listeners are not open"]).get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_readyz_tells_the_reasons() -> None:
    world = World()
    answer = await world.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": []})
    world.reasons.append("listeners are not open")
    answer = await world.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reasons": ["listeners are not open"]}


async def test_nothing_else_is_served() -> None:
    assert (await World().get("/")).status_code == 404


# -- metrics --


async def test_every_metric_is_there_from_the_start() -> None:
    """All but those whose labels are learnt from use: alerts can name them before anything happened."""
    text = (await World().get("/metrics")).text
    for reading in READINGS:
        assert f"# HELP {reading.name}" in text
        assert reading.name.startswith("gateway_")


async def test_imap_counters() -> None:
    world = World()
    counters = world.imap.counters
    counters.connections, counters.refused, counters.bugs = 7, 2, 1
    counters.logins, counters.failed_logins = 5, 3
    counters.octets_in, counters.octets_out = 100, 2000
    counters.commands.update({"FETCH": 4, "UID FETCH": 2})
    counters.replies.update({"OK": 5, "BAD": 1})
    world.imap.open_connections = 3
    values = await world.values()
    assert values["gateway_connections imap"] == 3
    assert values["gateway_connections_accepted_total imap"] == 7
    assert values["gateway_connections_refused_total imap"] == 2
    assert values["gateway_logins_total imap ok"] == 5
    assert values["gateway_logins_total imap failed"] == 3
    assert values["gateway_octets_total in imap"] == 100
    assert values["gateway_octets_total out imap"] == 2000
    assert values["gateway_imap_commands_total FETCH"] == 4
    assert values["gateway_imap_commands_total UID FETCH"] == 2
    assert values["gateway_imap_replies_total BAD"] == 1
    assert values["gateway_imap_bugs_total"] == 1


async def test_smtp_counters() -> None:
    world = World()
    counters = world.smtp.counters
    counters.connections, counters.logins, counters.failed_logins, counters.octets_in = 6, 4, 1, 900
    counters.replies.update({250: 9, 535: 1})
    counters.submissions.update({250: 2, 451: 1})
    values = await world.values()
    assert values["gateway_connections_accepted_total smtp"] == 6
    assert values["gateway_logins_total smtp ok"] == 4
    assert values["gateway_logins_total smtp failed"] == 1
    assert values["gateway_octets_total in smtp"] == 900
    assert values["gateway_smtp_replies_total 535"] == 1
    assert values["gateway_submissions_total 250"] == 2
    assert values["gateway_submissions_total 451"] == 1


async def test_bodies_spools_and_accounts() -> None:
    world = World(cache=Cache(5, 4, 3, 200, 1000), spools=Spools(77))
    world.contents = [Content(1, 2, 3), Content(4, 5, 6)]
    values = await world.values()
    assert [values[f"gateway_body_lookups_total {where}"] for where in ("memory", "disk", "missed")] == [
        5,
        4,
        3,
    ]
    assert [values[f"gateway_body_octets {tier}"] for tier in ("memory", "disk")] == [200, 1000]
    assert values["gateway_spool_octets"] == 77
    assert values["gateway_accounts"] == 2
    assert values["gateway_rerendered_total"] == 5
    assert values["gateway_changed_messages_total"] == 7
    assert values["gateway_placeholders_total"] == 9


async def test_numbers_are_read_at_each_scrape() -> None:
    world = World()
    assert (await world.values())["gateway_connections imap"] == 0
    world.imap.open_connections = 9
    assert (await world.values())["gateway_connections imap"] == 9


async def test_what_must_be_measured_is_measured_before_each_scrape_only() -> None:
    world = World()
    await world.get("/healthz")
    await world.get("/readyz")
    assert world.measured == 0
    assert (await world.values())["gateway_originals_octets"] == 1000
    assert (await world.values())["gateway_originals_octets"] == 2000


async def test_graph_requests_by_method_and_status() -> None:
    world = World()
    world.metrics.graph_request("GET", 200, 0.01)
    world.metrics.graph_request("GET", 200, 0.02)
    world.metrics.graph_request("POST", 0, 3.0)
    values = await world.values()
    assert values["gateway_graph_requests_total GET 200"] == 2
    assert values["gateway_graph_requests_total POST 0"] == 1
    assert values["gateway_graph_seconds_count"] == 3
    assert values["gateway_graph_seconds_sum"] == pytest.approx(3.03)


# -- the listener --


@contextlib.contextmanager
def a_taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


async def test_a_free_port_is_found_served_and_given_back() -> None:
    world = World()
    server = WebServer(world.metrics.registry, lambda: world.reasons, world.measure)
    port = await server.start("127.0.0.1", 0)
    assert port > 0
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        await asyncio.wait_for(server.stop(), 10)
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_a_port_that_is_taken_is_an_oserror() -> None:
    world = World()
    server = WebServer(world.metrics.registry, lambda: world.reasons, world.measure)
    with a_taken_port() as port, pytest.raises(OSError, match="in use"):
        await server.start("127.0.0.1", port)
    await server.stop()  # nothing to stop


async def test_stopping_does_not_wait_for_a_connection_that_idles() -> None:
    world = World()
    server = WebServer(world.metrics.registry, lambda: world.reasons, world.measure)
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await asyncio.wait_for(server.stop(), 10)
    writer.close()
