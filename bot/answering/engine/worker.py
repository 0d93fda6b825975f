"""The one thread that runs the engine: calls between steps, steps while there is work, sleep otherwise.

It ends after a few idle seconds, and the next call starts another: a sleeping thread keeps its OpenMP
threads, which slow down whatever else computes meanwhile (see `bot.answering.own_thread`). While there is
work it says so, so that a training run on this machine makes way; and it makes way for questions that are
looked up.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from bot.answering.engine.engine import Engine, Event
from bot.answering.lookups import Lookups
from training.making_way import Answering

Result = TypeVar("Result")

_IDLE_S = 5.0
_BURST_GAP_S = 0.001
_MAX_BURST_WAITS = 32

_log = logging.getLogger(__name__)


class Worker:
    """Runs `engine` and hands each step's events to `deliver`, on its own thread."""

    def __init__(
        self,
        engine: Engine,
        deliver: Callable[[list[Event]], None],
        answering: Answering | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        self._engine = engine
        self._deliver = deliver
        self._answering = answering
        self._lookups = lookups
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[[Engine], Result]) -> Future[Result]:
        """Run `function` between two steps. Raises RuntimeError after `close`."""
        future: Future[Result] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(self._engine))
            except Exception as error:  # the caller's: whoever waits for the future gets it
                future.set_exception(error)

        with self._wake:
            if self._closing:
                raise RuntimeError("the answering engine is closed")
            self._calls.append(run)
            self._wake_up()
        return future

    def close(self) -> None:
        """Cancel every request, deliver that, and wait for the thread to end."""
        with self._wake:
            self._closing = True
            self._wake_up()
            thread = self._thread
        assert thread is not None
        thread.join()

    def _wake_up(self) -> None:
        """Start the thread or wake it; the caller holds the lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="answering-engine", daemon=True)
            self._thread.start()
        self._wake.notify()

    def _run(self) -> None:
        while True:
            if self._answering is not None and not self._has_work():
                self._answering.end()
            with self._wake:
                if not self._wake.wait_for(self._has_work, timeout=_IDLE_S):
                    self._thread = None
                    return
                if self._answering is not None:
                    self._answering.begin()
                if self._engine.idle:
                    self._wait_for_burst()
            while self._calls:
                self._calls.popleft()()
            if self._closing:
                self._deliver(self._engine.end_all())
                if self._answering is not None:
                    self._answering.end()
                return
            if self._lookups is not None:
                self._lookups.wait()
            try:
                events = self._engine.step()
            except Exception as error:  # the outermost edge of this thread: it must outlive any one step
                _log.exception("a step of the answering engine failed")
                events = self._engine.fail_all(error)
            if events:
                self._deliver(events)

    def _wait_for_burst(self) -> None:
        """Wait for as long as calls follow one another closely; the caller holds the lock.

        A request that arrives a moment after a step has begun waits for all of it, so requests that arrive
        at the same moment should start in the same step.
        """
        for _ in range(_MAX_BURST_WAITS):
            calls = len(self._calls)
            self._wake.wait(timeout=_BURST_GAP_S)
            if len(self._calls) == calls:
                return

    def _has_work(self) -> bool:
        return bool(self._calls) or self._closing or not self._engine.idle
