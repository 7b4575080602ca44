"""Many who leave at once, in one transaction: when a mail goes out, its one-clicks come in waves."""

import asyncio
from asyncio import Future

from anyio import CapacityLimiter, to_thread

from newsletter import membership
from newsletter.app import App


class Leaving:
    """Commits who leaves in groups: whoever comes while one transaction runs is in the next one."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: list[tuple[int, Future[tuple[bool, bool]]]] = []
        self._running: asyncio.Task[None] | None = None
        self._thread = CapacityLimiter(1)  # of its own: nobody who leaves waits for those who look at samples

    async def leave(self, subscriber_id: int) -> tuple[bool, bool]:
        """Let somebody leave; return, after the commit, whether we know them, and whether they left just now."""
        done: Future[tuple[bool, bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((subscriber_id, done))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._commit())
        return await done

    async def _commit(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                who = {each for each, _ in group}
                known, left = await to_thread.run_sync(membership.unsubscribe, self._app, who, limiter=self._thread)
            except Exception as exc:  # noqa: BLE001  each of them is told
                for _, done in group:
                    if not done.done():
                        done.set_exception(exc)
                continue
            for subscriber_id, done in group:
                if not done.done():  # who hung up has left all the same
                    done.set_result((subscriber_id in known, subscriber_id in left))
