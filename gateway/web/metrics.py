"""What the gateway counts, as Prometheus metrics. Labels are kinds and codes, never names of people or mailboxes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One per process. Front ends and the Graph client call the methods; they know nothing of Prometheus."""

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
        self._commands = Counter(
            "gateway_imap_commands_total",
            "IMAP commands by name and result",
            ["command", "result"],
            registry=self.registry,
        )
        self._connections = Gauge(
            "gateway_connections", "Open connections by protocol", ["protocol"], registry=self.registry
        )
        self._logins = Counter(
            "gateway_logins_total",
            "Logins by protocol and result",
            ["protocol", "result"],
            registry=self.registry,
        )
        self._submissions = Counter(
            "gateway_submissions_total", "Submissions by SMTP status", ["status"], registry=self.registry
        )

    def graph_request(self, method: str, status: int, seconds: float) -> None:
        """`status` 0: no answer."""
        self._graph.labels(method, str(status)).inc()
        self._graph_seconds.observe(seconds)

    def imap_command(self, command: str, result: str) -> None:
        self._commands.labels(command, result).inc()

    def connection(self, protocol: str, change: int) -> None:
        self._connections.labels(protocol).inc(change)

    def login(self, protocol: str, result: str) -> None:
        self._logins.labels(protocol, result).inc()

    def submission(self, status: int) -> None:
        self._submissions.labels(str(status)).inc()
