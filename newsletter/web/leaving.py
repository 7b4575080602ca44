"""Many who leave at once, in one transaction: when a mail goes out, its one-clicks come in waves."""

import asyncio
from asyncio import Future

from fastapi.concurrency import run_in_threadpool

from newsletter import membership
from newsletter.app import App


class Leaving:
    """Commits who leaves in groups: whoever comes while one transaction runs is in the next one."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: list[tuple[int, Future[bool]]] = []
        self._running: asyncio.Task[None] | None = None

    async def leave(self, subscriber_id: int) -> bool:
        """Let somebody leave; return, after the commit, whether we know them."""
        done: Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((subscriber_id, done))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._commit())
        return await done

    async def _commit(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                known = await run_in_threadpool(membership.unsubscribe, self._app, {each for each, _ in group})
            except Exception as exc:  # noqa: BLE001  each of them is told
                for _, done in group:
                    if not done.done():
                        done.set_exception(exc)
                continue
            for subscriber_id, done in group:
                if not done.done():  # who hung up has left all the same
                    done.set_result(subscriber_id in known)
