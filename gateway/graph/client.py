"""The one way to Graph: `GraphClient.call` (architecture invariant 10; contract sections 1-3).

A call takes a slot of its mailbox's scheduler, carries a token, is sent, and is judged; a retry takes a new
slot. Every try sends the same whole bytes. What a call raises is in `graph.errors`; what it logs is a
template, a status and durations, never an id, an address, a token or content.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx
import structlog

from gateway.core.limits import DEFAULT_LIMITS, Limits
from gateway.graph.body import BadBody, framed, read_body
from gateway.graph.clock import Clock, SystemClock
from gateway.graph.errors import GraphError, Unreachable
from gateway.graph.model import Priority
from gateway.graph.msalhttp import CONNECT_TIMEOUT, tls_context
from gateway.graph.query import pinned
from gateway.graph.request import Request, Response
from gateway.graph.throttle import FOREVER, Scheduler
from gateway.graph.token import TokenSource
from gateway.graph.verdict import Again, Lost, judge

SLOW_FACTOR = 5.0  # `$value` of a large message and uploads may take minutes (contract section 8)
KEEP_ALIVE = 60.0  # seconds an idle connection is kept
POOLED_MAILBOXES = 64  # idle connections are kept for this many mailboxes' slots
BACKOFF = (0.5, 30.0)  # first wait and longest, in seconds
# How long a call waits for its first slot, in `graph_patience`s: bulk and background work may have to wait until
# the budget of ten minutes is free again, and give up some day all the same.
QUEUE_PATIENCE = {Priority.INTERACTIVE: 1.0, Priority.BULK: 6.0, Priority.BACKGROUND: 15.0}
LINGER = 5.0  # seconds in which the answer of a call is awaited that nobody wants any more
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

log = structlog.get_logger("gateway.graph")


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What metrics learn of one call, all its tries together. `status` 0: no answer; `seconds` includes waiting."""

    method: str
    template: str
    status: int
    seconds: float
    tries: int
    octets_out: int
    octets_in: int
    priority: Priority
    error: str  # class name of the error raised, '' for success


@dataclass(slots=True)
class _Course:
    """How one call is going."""

    id: str
    began: float
    deadline: float = FOREVER  # set at the first grant: patience counts from there
    tries: int = 0
    waits: int = 0
    status: int = 0
    octets_in: int = 0
    token: str | None = None  # the one sent last
    rejected: str | None = None  # the one Graph refused
    claims: str | None = None
    verdicts: dict[str, int] = field(default_factory=dict)


class GraphClient:
    """Graph at `base_url` (`https://host/v1.0`) with one token source. Safe for many tasks of one event loop.

    `http2`: see the decision note on HTTP versions. `metrics` is told of each call and must not raise;
    `share` of each mailbox's scheduler, of which it may allot less than the mailbox bears.
    """

    def __init__(
        self,
        base_url: str,
        tokens: TokenSource,
        *,
        ca_file: str | Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        http2: bool = False,
        metrics: Callable[[CallRecord], None] | None = None,
        share: Callable[[str, Scheduler], None] | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.limits = limits
        self.clock = clock or SystemClock()
        self._tokens = tokens
        self._rng = rng or random.Random()  # noqa: S311  (jitter and tracing ids)
        self._metrics = metrics
        self._share = share
        self._schedulers: dict[str, Scheduler] = {}
        self._lingering: set[asyncio.Task[None]] = set()
        self._http = httpx.AsyncClient(
            verify=tls_context(ca_file),
            transport=transport,
            http1=not http2,
            http2=http2,
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT),
            # The schedulers bound what is in flight; the pool only keeps what they use.
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=limits.in_flight * POOLED_MAILBOXES,
                keepalive_expiry=KEEP_ALIVE,
            ),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": "graph-mail-gateway", "Accept-Encoding": "gzip"},
        )

    async def aclose(self) -> None:
        """Closes connections; call it when no call is running any more."""
        for task in self._lingering:
            task.cancel()
        await asyncio.gather(*self._lingering, return_exceptions=True)
        for scheduler in self._schedulers.values():
            scheduler.close()
        await self._http.aclose()

    def scheduler(self, mailbox: str) -> Scheduler:
        """The one scheduler of a mailbox (its name in any case)."""
        key = mailbox.lower()
        if key not in self._schedulers:
            self._schedulers[key] = Scheduler(self.clock, self.limits)
            if self._share is not None:
                self._share(key, self._schedulers[key])
        return self._schedulers[key]

    def pinned(self, link: str) -> str:
        """`link`, if it leads to this Graph; else Invalid (trap 41)."""
        return pinned(self.base_url, link)

    def jitter(self) -> float:
        """A factor of 0.5..1.0 for waits."""
        return 0.5 + self._rng.random() / 2

    async def call(self, request: Request) -> Response:
        """The successful answer of `request`; all of `graph.errors` otherwise.

        Repeats what may be repeated until `graph_patience` seconds after the first try started.
        """
        course = _Course(str(uuid.UUID(int=self._rng.getrandbits(128), version=4)), self.clock.monotonic())
        try:
            answer = await self._run(request, course)
        except GraphError as error:
            self._tell(request, course, type(error).__name__, error.code)
            raise
        self._tell(request, course, "", "")
        return answer

    async def _run(self, request: Request, course: _Course) -> Response:
        while True:
            answer = await self._try(request, course)
            verdict = judge(request, answer)
            if isinstance(verdict, Response):
                return verdict
            await self._before_next(verdict, course, answer)

    async def _try(self, request: Request, course: _Course) -> Response | Lost:
        """One try in one slot."""
        scheduler = self.scheduler(request.mailbox)
        upload = len(request.body) if request.method != "GET" else 0
        deadline = self._queue_deadline(request, course)
        await scheduler.take(request.priority, requests=request.weight, upload=upload, deadline=deadline)
        self._started(request, course)
        exchange = asyncio.create_task(self._exchange(request, course))
        try:
            answer = await asyncio.shield(exchange)
        except asyncio.CancelledError:
            self._linger(scheduler, exchange)
            raise
        except BaseException:
            scheduler.give_back()
            raise
        scheduler.give_back()
        self._heard(scheduler, answer)
        return answer

    def _linger(self, scheduler: Scheduler, exchange: asyncio.Task[Response | Lost]) -> None:
        """Graph works on a call whose caller has gone away, and counts it: its slot is free when it was answered."""
        task = asyncio.create_task(self._lingered(scheduler, exchange))
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    async def _lingered(self, scheduler: Scheduler, exchange: asyncio.Task[Response | Lost]) -> None:
        patience = asyncio.create_task(self.clock.sleep(LINGER))
        try:
            await asyncio.wait({exchange, patience}, return_when=asyncio.FIRST_COMPLETED)
            if exchange.done() and exchange.exception() is None:
                self._heard(scheduler, exchange.result())
        finally:
            for task in (exchange, patience):
                task.cancel()
            await asyncio.gather(exchange, patience, return_exceptions=True)
            scheduler.give_back()

    def _heard(self, scheduler: Scheduler, answer: Response | Lost) -> None:
        if isinstance(answer, Response) and answer.status == 429:
            scheduler.refused(answer.retry_after)
        elif isinstance(answer, Response) and answer.status < 500:
            scheduler.succeeded()
        else:
            scheduler.unanswered()

    def _queue_deadline(self, request: Request, course: _Course) -> float:
        if course.tries:
            return course.deadline
        return course.began + self.limits.graph_patience * QUEUE_PATIENCE[request.priority]

    def _started(self, request: Request, course: _Course) -> None:
        course.tries += 1
        if course.tries == 1:
            patience = self.limits.graph_patience * (SLOW_FACTOR if request.slow else 1.0)
            course.deadline = self.clock.monotonic() + patience

    async def _before_next(self, again: Again, course: _Course, answer: Response | Lost) -> None:
        """Wait as the verdict says; raise its error if that is too long or was done too often."""
        kind = type(again.error).__name__
        course.verdicts[kind] = course.verdicts.get(kind, 0) + 1
        if course.verdicts[kind] > again.tries:
            raise again.error
        if again.refresh and isinstance(answer, Response):
            course.rejected, course.claims = course.token, answer.claims
            if course.verdicts[kind] == 1:
                return
        wait = again.wait if again.wait is not None else self._backoff(course)
        if self.clock.monotonic() + wait > course.deadline:
            again.error.retry_after = wait
            raise again.error
        await self.clock.sleep(wait)

    def _backoff(self, course: _Course) -> float:
        first, longest = BACKOFF
        wait = min(longest, first * 2.0**course.waits) * self.jitter()
        course.waits = min(course.waits + 1, 10)
        return wait

    # -- one exchange --

    async def _exchange(self, request: Request, course: _Course) -> Response | Lost:
        try:
            headers = await self._headers(request, course)
        except Unreachable as error:  # the sign-in service: it may answer in a second, as Graph may
            return Lost(sent=False, reason=str(error))
        url = request.link or self.base_url + request.path
        content = request.body if isinstance(request.body, bytes) else request.body.pieces()
        built = self._http.build_request(request.method, url, headers=headers, content=content)
        try:
            async with asyncio.timeout(self.limits.graph_timeout * (SLOW_FACTOR if request.slow else 1.0)):
                return await self._receive(built, request, course)
        except _NOT_SENT as error:
            return _not_sent(error)
        except (httpx.TransportError, TimeoutError, BadBody) as error:
            return Lost(sent=True, reason=f"Graph did not answer ({type(error).__name__})")

    async def _receive(self, built: httpx.Request, request: Request, course: _Course) -> Response:
        response = await self._http.send(built, stream=True)
        try:
            course.status = response.status_code
            body = await self._body(response, request)
        finally:
            await response.aclose()
        course.octets_in += len(body)
        return Response(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body)

    async def _body(self, response: httpx.Response, request: Request) -> bytes:
        """The whole body. Of an error the status says enough: its body may be lost."""
        failed = response.status_code >= 400
        try:
            body = await read_body(response, request.max_answer)
        except (httpx.TransportError, BadBody):
            if failed:
                return b""
            raise
        if not failed and body and not framed(response):
            raise BadBody("unframed")
        return body

    async def _headers(self, request: Request, course: _Course) -> dict[str, str]:
        headers = {"client-request-id": course.id, **request.headers}
        if request.bearer:
            headers["Prefer"] = request.prefer_header()
            headers["Authorization"] = f"Bearer {await self._token(course)}"
        if request.method in {"POST", "PUT", "PATCH"}:
            headers["Content-Length"] = str(len(request.body))
        return headers

    async def _token(self, course: _Course) -> str:
        """A token other than the one Graph has refused to this call."""
        token = await self._tokens.token()
        if token == course.rejected:  # else another call has renewed it meanwhile
            token = await self._tokens.token(claims=course.claims, force=True)
        course.token = token
        return token

    def _tell(self, request: Request, course: _Course, error: str, code: str) -> None:
        seconds = self.clock.monotonic() - course.began
        log.info(
            "graph call", method=request.method, path=request.template, status=course.status,
            ms=round(seconds * 1000), tries=course.tries, error=error, code=code, call=course.id,
        )  # fmt: skip
        if self._metrics is not None:
            self._metrics(
                CallRecord(
                    request.method, request.template, course.status, seconds, course.tries,
                    len(request.body) * course.tries, course.octets_in, request.priority, error,
                )
            )  # fmt: skip


def _not_sent(error: Exception) -> Lost:
    """Nothing left this machine; a certificate that does not verify will not do so in a minute either."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise Unreachable("Graph's certificate was not accepted", code="Certificate") from None
        cause = cause.__cause__ or cause.__context__
    return Lost(sent=False, reason=f"Graph cannot be reached ({type(error).__name__})")
