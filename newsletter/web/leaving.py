"""Many who leave at once, in one transaction: when a mail goes out, its one-clicks come in waves."""

import asyncio
from asyncio import Future
from datetime import datetime

from anyio import CapacityLimiter, to_thread

from newsletter import logs, membership
from newsletter.app import App
from newsletter.signing import Signed
from newsletter.tracking import record

_log = logs.get(__name__)


class Leaving:
    """Commits who leaves in groups: whoever comes while one transaction runs is in the next one."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: list[tuple[Signed, Future[tuple[bool, bool]]]] = []
        self._running: asyncio.Task[None] | None = None
        self._thread = CapacityLimiter(1)  # of its own: nobody who leaves waits for those who look at samples

    async def leave(self, link: Signed) -> tuple[bool, bool]:
        """Let somebody leave; return, after the commit, whether we know them, and whether they left just now."""
        done: Future[tuple[bool, bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((link, done))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._commit())
        return await done

    async def _commit(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                links = {link.id: link.at for link, _ in group}
                known, left = await to_thread.run_sync(self._leave, links, limiter=self._thread)
            except Exception as exc:  # noqa: BLE001  each of them is told
                for _, done in group:
                    if not done.done():
                        done.set_exception(exc)
                continue
            for link, done in group:
                if not done.done():  # who hung up has left all the same
                    done.set_result((link.id in known, link.id in left))

    def _leave(self, links: dict[int, datetime]) -> tuple[set[int], set[int]]:
        app = self._app
        done = membership.unsubscribe(app, links.keys())
        try:
            record.came_to_leave(app.db, links, app.now())
        except Exception:  # noqa: BLE001  they have left, and are told so
            _log.exception("evidence not written")
        return done
