"""What the gateway counts, as Prometheus metrics. Labels are kinds and codes, never names of people or mailboxes.

Graph calls are told one by one (`Metrics.graph_request`). Everything else is counted where it happens, in plain
numbers, and read from there when somebody scrapes: the front ends know nothing of Prometheus, and a command costs no
more than an addition. One table says which number is which metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Samples = Iterable[tuple[tuple[str, ...], float]]  # label values and the number


class FrontCounters(Protocol):
    """What both front ends count, since the start of the process."""

    connections: int
    refused: int
    logins: int
    failed_logins: int
    octets_in: int


class ImapCounters(FrontCounters, Protocol):
    octets_out: int
    bugs: int

    @property
    def commands(self) -> Mapping[str, int]: ...  # by command name
    @property
    def replies(self) -> Mapping[str, int]: ...  # OK, NO, BAD


class SmtpCounters(FrontCounters, Protocol):
    @property
    def replies(self) -> Mapping[int, int]: ...  # by reply code
    @property
    def submissions(self) -> Mapping[int, int]: ...  # by the final reply's code


class ImapFront(Protocol):
    @property
    def counters(self) -> ImapCounters: ...
    @property
    def open_connections(self) -> int: ...


class SmtpFront(Protocol):
    @property
    def counters(self) -> SmtpCounters: ...
    @property
    def open_connections(self) -> int: ...


class Cache(Protocol):
    hits: int
    disk_hits: int
    misses: int

    @property
    def memory_octets(self) -> int: ...
    @property
    def disk_octets(self) -> int: ...


class Spools(Protocol):
    used: int


@dataclass(frozen=True, slots=True)
class Content:
    """What became of one account's messages in Exchange, since the start (architecture decision 4)."""

    rerendered: int  # the same content in other octets
    changed: int  # by somebody: a new UID each
    placeholders: int  # could not be rendered
    measured: int = 0  # whose size was made exact in the background


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers are. All of it is read in the loop's own thread, at once.

    `contents`: one for each account that is up; accounts stay up until the process ends, so sums never fall.
    `originals`: octets of the messages that were appended and are kept for ever (architecture decision 9).
    """

    imap: ImapFront
    smtp: SmtpFront
    cache: Cache
    spools: Spools
    contents: Callable[[], Iterable[Content]]
    originals: Callable[[], int]
    notices: Callable[[], tuple[int, int]] = lambda: (0, 0)  # from Graph: taken, refused
    queue: Callable[[], tuple[int, float]] = lambda: (
        0,
        0.0,
    )  # the outbox: how many, and seconds the oldest waits
    nodes: Callable[[], Mapping[str, float]] = dict  # of several gateways on one database; of one: nothing


@dataclass(frozen=True, slots=True)
class Reading:
    """A row of the table: a metric and how it is read. Counters get `_total` behind their name when shown."""

    name: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[Sources], Samples]
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily] = CounterMetricFamily


def _fronts(pick: Callable[[ImapFront | SmtpFront], float]) -> Callable[[Sources], Samples]:
    return lambda s: [(("imap",), pick(s.imap)), (("smtp",), pick(s.smtp))]


def _tally(counts: Mapping[str, int] | Mapping[int, int]) -> Samples:
    return [((str(key),), number) for key, number in counts.items()]


def _logins(s: Sources) -> Iterator[tuple[tuple[str, ...], float]]:
    for protocol, front in (("imap", s.imap.counters), ("smtp", s.smtp.counters)):
        yield (protocol, "ok"), front.logins
        yield (protocol, "failed"), front.failed_logins


def _octets(s: Sources) -> Samples:
    imap, smtp = s.imap.counters, s.smtp.counters
    return [
        (("imap", "in"), imap.octets_in),
        (("imap", "out"), imap.octets_out),
        (("smtp", "in"), smtp.octets_in),
    ]


def _lookups(s: Sources) -> Samples:
    return [(("memory",), s.cache.hits), (("disk",), s.cache.disk_hits), (("missed",), s.cache.misses)]


def _cached(s: Sources) -> Samples:
    return [(("memory",), s.cache.memory_octets), (("disk",), s.cache.disk_octets)]


def _node(figure: str) -> Callable[[Sources], Samples]:
    """Only where there are several gateways."""
    return lambda s: [((), figures[figure])] if (figures := s.nodes()) else []


READINGS = (
    Reading("gateway_connections", "Open connections", ("protocol",), _fronts(lambda f: f.open_connections),
            GaugeMetricFamily),
    Reading("gateway_connections_accepted", "Connections since the start", ("protocol",),
            _fronts(lambda f: f.counters.connections)),
    Reading("gateway_connections_refused", "Connections over a cap", ("protocol",),
            _fronts(lambda f: f.counters.refused)),
    Reading("gateway_logins", "Logins by result", ("protocol", "result"), _logins),
    Reading("gateway_octets", "Octets from and to clients", ("protocol", "direction"), _octets),
    Reading("gateway_imap_commands", "IMAP commands by name", ("command",), lambda s: _tally(s.imap.counters.commands)),
    Reading("gateway_imap_replies", "Tagged replies by kind", ("result",), lambda s: _tally(s.imap.counters.replies)),
    Reading("gateway_imap_bugs", "Commands answered [SERVERBUG]", (), lambda s: [((), s.imap.counters.bugs)]),
    Reading("gateway_smtp_replies", "SMTP replies by code", ("code",), lambda s: _tally(s.smtp.counters.replies)),
    Reading("gateway_submissions", "Messages submitted, by the final reply", ("status",),
            lambda s: _tally(s.smtp.counters.submissions)),
    Reading("gateway_body_lookups", "Where bodies were found", ("where",), _lookups),
    Reading("gateway_body_octets", "Octets of bodies kept at hand", ("tier",), _cached, GaugeMetricFamily),
    Reading("gateway_spool_octets", "Octets of messages on their way in", (), lambda s: [((), s.spools.used)],
            GaugeMetricFamily),
    Reading("gateway_originals_octets", "Octets of appended messages, kept for ever", (),
            lambda s: [((), s.originals())], GaugeMetricFamily),
    Reading("gateway_notifications", "Change notifications from Graph, by what became of them", ("result",),
            lambda s: zip((("taken",), ("refused",)), s.notices(), strict=True)),
    Reading("gateway_nodes", "Gateways alive on this database", (), _node("members"), GaugeMetricFamily),
    Reading("gateway_duties", "Accounts whose background work is done here", (), _node("posts"), GaugeMetricFamily),
    Reading("gateway_slots", "Calls to Graph this gateway may make at once, of all mailboxes together", (),
            _node("slots"), GaugeMetricFamily),
    Reading("gateway_hints", "What other gateways told of", (), _node("hints")),
    Reading("gateway_hints_missed", "Folders whose changes nobody had told of", (), _node("missed")),
    Reading("gateway_deaths", "How often other gateways declared this one dead", (), _node("deaths")),
    Reading("gateway_database_reconnects", "Times the connection that hears them was made anew", (),
            _node("reconnects")),
    Reading("gateway_queue_depth", "Messages accepted and not sent yet", (), lambda s: [((), s.queue()[0])],
            GaugeMetricFamily),
    Reading("gateway_queue_age_seconds", "Time the oldest of them has waited", (), lambda s: [((), s.queue()[1])],
            GaugeMetricFamily),
    Reading("gateway_accounts", "Accounts that are up", (), lambda s: [((), len(list(s.contents())))],
            GaugeMetricFamily),
    Reading("gateway_rerendered", "Messages that Exchange renders otherwise than before", (),
            lambda s: [((), sum(c.rerendered for c in s.contents()))]),
    Reading("gateway_changed_messages", "Messages whose content somebody changed: new UIDs", (),
            lambda s: [((), sum(c.changed for c in s.contents()))]),
    Reading("gateway_placeholders", "Messages that Exchange could not render", (),
            lambda s: [((), sum(c.placeholders for c in s.contents()))]),
    Reading("gateway_sizes_measured", "Messages whose size was made exact in the background", (),
            lambda s: [((), sum(c.measured for c in s.contents()))]),
)  # fmt: skip


class Scrape(Collector):
    """Reads the table for one scrape."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        for reading in READINGS:
            family = reading.kind(reading.name, reading.help, labels=reading.labels)
            for labels, number in reading.read(self._sources):
                family.add_metric(labels, number)
            yield family

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering reads no numbers."""
        return ()


class Metrics:
    """One per process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._graph = Counter(
            "gateway_graph_requests_total",
            "Graph requests by method and status",
            ["method", "status"],
            registry=self.registry,
        )
        self._graph_seconds = Histogram(
            "gateway_graph_seconds", "Time of one Graph request", registry=self.registry
        )

    def graph_request(self, method: str, status: int, seconds: float) -> None:
        """`status` 0: no answer."""
        self._graph.labels(method, str(status)).inc()
        self._graph_seconds.observe(seconds)

    def read(self, sources: Sources) -> None:
        """From now on every scrape shows these too. Once."""
        self.registry.register(Scrape(sources))
