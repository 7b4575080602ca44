"""SMTP: one event loop, many connections, and the dot only after the handoff mark (RFC 5321, RFC 2920).

All of MAIL, RCPT, DATA and the message is written; if nothing unexpected came back by then the mark is committed
and the final dot follows, with the next mail's envelope right behind it. Trouble before the dot is
``deferred``: nobody can have accepted a message without its end.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from functools import partial
from itertools import islice
from threading import Event, Lock

from newsletter import clock
from newsletter.delivery.pacing import Pacer
from newsletter.delivery.retry import Outcome
from newsletter.delivery.transports import Marks, Outgoing, Untried
from newsletter.delivery.transports.connection import Connection
from newsletter.delivery.transports.paced import Paced, domain_of
from newsletter.delivery.transports.pool import Pool
from newsletter.relays import Relay

_REFUSALS = 3
_TICK_SECONDS = 0.25
_AHEAD = 64  # mails that are ready while others are under way
_LOOKS = 8  # at mails that must wait, before a connection waits with them
_PROBE_SECONDS = 1.5  # until we know whose turn it is to try a domain out
_PATIENCE_SECONDS = 10.0  # a mail that must wait for longer is given back


class SmtpTransport:
    """Hands messages over to relays: each gets its share by weight, and those of one that is away go to the others.

    :param pacer: asked before each mail, and told what relays say of our pace.
    :param stopping: when set, each connection finishes its mail and the rest is not tried.
    """

    def __init__(
        self,
        relays: Sequence[Relay],
        pacer: Pacer,
        now: Callable[[], datetime],
        *,
        tls: ssl.SSLContext | None = None,
        stopping: Event | None = None,
    ) -> None:
        self._relays = relays
        self._paced = Paced(pacer, now)
        self._tls = tls
        self._stopping = stopping or Event()
        self._turn = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pools: list[Pool] = []

    def deliver(self, batch: Iterable[Outgoing], marks: Marks) -> Untried:
        """Hand over all messages; see `Transport.deliver`. One caller at a time."""
        with self._turn:
            if self._loop is None:  # not earlier: a worker forks before its first mail
                wanted = any(relay.tls != "never" for relay in self._relays)  # else 35 ms of reading certificates
                context = self._tls or (
                    ssl.create_default_context() if wanted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                )
                self._loop = _new_loop()
                self._pools = [Pool(relay, context) for relay in self._relays]
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="smtp")
            run = _Run(self._pools, iter(batch), marks, self._paced, self._stopping)
            # In a thread of its own: whoever calls may have a loop running, and Ctrl-C must not end this one half-way.
            done = self._thread.submit(self._loop.run_until_complete, run.go())
            try:
                return done.result()
            except BaseException:
                run.stop()  # what is under way is finished
                wait([done])
                raise

    def finish(self) -> None:
        """Connections stay open for the next batch."""

    def close(self) -> None:
        """Say goodbye on all connections."""
        with self._turn:
            if self._loop is not None:
                self._thread.submit(self._loop.run_until_complete, self._goodbye()).result()
                self._thread.shutdown()
                self._loop.close()
                self._loop = None

    async def _goodbye(self) -> None:
        for pool in self._pools:
            for connection in pool.connections:
                connection.quit()
        await asyncio.sleep(0)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415  where there is one it takes half as long
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class _Run:
    """One stream of messages on its way over all pools."""

    def __init__(
        self,
        pools: Sequence[Pool],
        messages: Iterator[Outgoing],
        marks: Marks,
        paced: Paced,
        stopping: Event,
    ) -> None:
        self._pools = pools
        self._paced = paced
        self._messages = messages
        self._marks = marks
        self._stopping = stopping
        self._ahead = max(_AHEAD, 2 * sum(pool.relay.connections for pool in pools))
        self._ready: deque[Outgoing] = deque()
        self._fetching = self._exhausted = self._stopped = False
        self._why = ""
        self._refused = 0
        self._failure: Exception | None = None
        self._answers: deque[tuple[Connection, Outgoing, bool | Exception]] = deque()
        self._woken = self._dispatching = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def go(self) -> Untried:
        """Run until nothing is left to do, or nothing more may be tried."""
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        await asyncio.sleep(0)  # hear which connections were closed while nobody listened
        for pool in self._pools:
            pool.begin_run(self)
        with ThreadPoolExecutor(1, thread_name_prefix="printing") as self._threads:
            ticking = self._loop.create_task(self._tick())
            self._fetch()
            try:
                await self._done
            finally:
                self._stopped = True
                ticking.cancel()
        if self._failure is not None:
            raise self._failure
        return Untried(tuple(self._ready), self._why if self._ready else "", self._refused >= _REFUSALS)

    def stop(self) -> None:
        """Try nothing more, as soon as that is noticed; any thread may say so."""
        self._stopped = True

    def take(self, connection: Connection) -> Outgoing | None:
        """See `Work.take`."""
        pool = self._pool_of(connection)
        waits: list[float] = []
        while len(waits) < _LOOKS and self._ready and self._may_go_on() and self._may_take(connection, pool):
            outgoing = self._ready.popleft()
            self._fetch()
            unfit = connection.unfit(outgoing)
            if unfit is not None:
                self._marks.settle(outgoing, unfit)
                continue
            wait = self._paced.wait(pool.relay.name, outgoing)
            if not wait:
                pool.taken += 1
                return outgoing
            if self._wait(pool, outgoing, wait):
                waits.append(wait)
        if waits:
            pool.paced_until = self._loop.time() + min(waits)
            self._loop.call_later(min(waits), self._dispatch)
        return None

    def _wait(self, pool: Pool, outgoing: Outgoing, wait: float) -> bool:
        """Keep a mail that must not go to a relay yet for later, so that others may go before it, or put it off.

        :returns: whether it is kept.
        """
        rest = self._paced.rest(pool.relay.name) if wait > _PATIENCE_SECONDS else 0.0
        if rest > _PATIENCE_SECONDS:
            self._ready.appendleft(outgoing)
            pool.away = f"the relay is given nothing for {rest:.0f} s"
            if all(each.away for each in self._pools):
                self._stop(pool.away)
            return True
        theirs = sum(domain_of(each) == domain_of(outgoing) for each in self._ready)
        # A domain with a limit of its own must not keep the others from being fetched; one without waits for the relay.
        many = theirs > self._ahead // 4 and self._paced.has_limit(outgoing)
        # Where a domain rests, or one mail tries it out, the others must not wait for that among those that could go.
        slowed = (wait > _PROBE_SECONDS or theirs > 0) and self._paced.is_slowed(outgoing)
        if wait > _PATIENCE_SECONDS or many or slowed:
            self._marks.put_off(outgoing, self._paced.turn(outgoing, wait))
            return False
        self._ready.append(outgoing)
        return True

    def put_back(self, connection: Connection, outgoing: Outgoing) -> None:
        """See `Work.put_back`."""
        self._paced.unheard(self._pool_of(connection).relay.name, outgoing)
        self._ready.appendleft(outgoing)

    def mark(self, connection: Connection, outgoing: Outgoing) -> None:
        """See `Work.mark`."""
        self._marks.handoff(outgoing, partial(self._told, connection, outgoing))

    def settle(self, connection: Connection, outgoing: Outgoing, outcome: Outcome) -> None:
        """See `Work.settle`.

        One reader's server may refuse us; the third in a row means that nobody wants our mail.
        """
        self._marks.settle(outgoing, outcome)
        self._paced.learn(self._pool_of(connection).relay.name, outgoing, outcome)
        self._refused = self._refused + 1 if outcome.refused_us else 0
        if outcome.stop or self._refused >= _REFUSALS:
            self._stop(outcome.reply)
        self._pool_of(connection).judge(outcome)

    def free(self, connection: Connection) -> None:
        """See `Work.free`."""
        pool = self._pool_of(connection)
        if not connection.closed and connection.carried >= pool.relay.messages:
            connection.quit()
        if connection.closed:
            pool.closed(connection)
        self._loop.call_soon(self._dispatch)

    def _pool_of(self, connection: Connection) -> Pool:
        if len(self._pools) == 1:
            return self._pools[0]
        return next((pool for pool in self._pools if connection in pool.connections), self._pools[0])

    def _may_go_on(self) -> bool:
        return not self._stopped and not self._stopping.is_set()

    def _may_take(self, connection: Connection, pool: Pool) -> bool:
        """Whether the next mail is this connection's, and not due to another relay that waits for one."""
        serving = self._serving()
        if pool not in serving or pool.paced_until > self._loop.time() or connection.carried >= pool.relay.messages:
            return False
        return not any(each.share < pool.share and (each.idle or each.may_open()) for each in serving)

    def _serving(self) -> list[Pool]:
        """Return the relays that mails may go to now: a stand-by only when all others are away."""
        there = [pool for pool in self._pools if not pool.away]
        return [pool for pool in there if pool.relay.weight] or there

    def _dispatch(self) -> None:
        """Give what is ready to connections that have nothing to do, and open more where there are too few."""
        if self._done.done():
            return
        for _ in range(len(self._ready) - len(self._tasks)):
            if not self._ready or not self._may_go_on():
                break
            now = self._loop.time()
            able = [pool for pool in self._serving() if pool.paced_until <= now and (pool.idle or pool.may_open())]
            if not able:
                break
            pool = min(able, key=lambda each: each.share)
            idle = pool.idle
            if idle is not None:
                idle.begin()
            else:
                pool.reserve()
                task = self._loop.create_task(self._open(pool))
                self._tasks.add(task)
                task.add_done_callback(self._opened)
        self._end_if_done()

    async def _open(self, pool: Pool) -> None:
        connection = await pool.open(self)
        if connection is not None:
            connection.begin()
        elif all(each.away for each in self._pools):
            self._stop(pool.away)

    def _opened(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        trouble = task.exception()
        if trouble is not None:
            self._fail(trouble)
        self._dispatch()

    def _stop(self, why: str) -> None:
        """Try nothing more; what is under way is finished."""
        self._stopped, self._why = True, self._why or why[:300]

    def _end_if_done(self) -> None:
        if self._done.done() or self._fetching or self._tasks or any(pool.busy for pool in self._pools):
            return
        if not self._may_go_on() or (self._exhausted and not self._ready) or all(pool.away for pool in self._pools):
            self._done.set_result(None)

    def _fetch(self) -> None:
        """See to it that messages are ready, in a thread: leasing and printing them takes its time."""
        if self._fetching or self._exhausted or len(self._ready) >= self._ahead // 2 or not self._may_go_on():
            return
        self._fetching = True
        fetched = self._loop.run_in_executor(self._threads, lambda: list(islice(self._messages, self._ahead)))
        fetched.add_done_callback(self._fetched)

    def _fetched(self, fetched: "asyncio.Future[list[Outgoing]]") -> None:
        self._fetching = False
        trouble = fetched.exception()
        if trouble is not None:
            self._fail(trouble)
        else:
            self._ready.extend(fetched.result())
            for pool in self._pools:
                pool.paced_until = 0.0  # the new ones may go, whatever those before them wait for
            self._exhausted = not fetched.result()
            self._fetch()
        self._dispatch()

    def _fail(self, trouble: BaseException) -> None:
        if not isinstance(trouble, Exception):
            raise trouble
        self._failure = self._failure or trouble
        self._stop("")

    def _told(self, connection: Connection, outgoing: Outgoing, answer: bool | Exception) -> None:
        """Pass on an answer of the ledger's thread, all that come at once together."""
        self._answers.append((connection, outgoing, answer))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._pass_on)

    def _pass_on(self) -> None:
        self._woken = False
        while self._answers:
            connection, outgoing, answer = self._answers.popleft()
            if isinstance(answer, Exception):
                self._fail(answer)
                connection.end("the ledger cannot be written")
            else:
                if not answer:
                    self._paced.unheard(self._pool_of(connection).relay.name, outgoing)
                connection.marked(ours=answer)

    async def _tick(self) -> None:
        """Watch the time limits, and whether we are to stop."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._marks.beat()
            for pool in self._pools:
                for connection in list(pool.connections):
                    connection.check(clock.monotonic())
            self._dispatch()
