"""What has been declared happens at its time, beside the traffic."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from topologies.model.errors import LabError

Step = tuple[float, Callable[[], None]]     # seconds after the start, what is to be done


class Timed:
    """Does the steps of one phase at their times, one after another, in a thread of its own."""

    def __init__(self, name: str, steps: Sequence[Step]) -> None:
        self.name = name
        self._steps = sorted(steps, key=lambda step: step[0])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True, name=name)
        self.error: LabError | None = None
        self._start = 0.0

    def start(self) -> None:
        self._start = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """No further step; raises what went wrong with one."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self.error is not None:
            raise self.error

    @property
    def left(self) -> int:
        """Steps that have not happened."""
        return len(self._steps)

    def _play(self) -> None:
        while self._steps and not self._stop.wait(max(0.0, self._start + self._steps[0][0] - time.monotonic())):
            _, do = self._steps.pop(0)
            try:
                do()
            except LabError as error:
                self.error = error
                return
