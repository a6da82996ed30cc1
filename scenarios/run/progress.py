"""A progress bar per workload while phases run, on standard error."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from scenarios.run.runner import StageListener


class Bars(StageListener):
    """Shows stages and bytes; says the stages in plain lines where there is no terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True, disable=quiet)
        self._tasks: dict[str, TaskID] = {}
        self._stage: TaskID | None = None
        self.headline = ""      # said before each stage: which run of several this is

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._progress.stop()

    def stage(self, what: str) -> None:
        """The stage is the first line; bars of the last phase go."""
        for task in (*self._tasks.values(), *((self._stage,) if self._stage is not None else ())):
            self._progress.remove_task(task)
        self._tasks.clear()
        self._stage = self._progress.add_task(f"{self.headline}: {what}" if self.headline else what, total=None)

    def progress(self, workload: str, done: float, total: float | None) -> None:
        """One bar per workload, in bytes."""
        if workload not in self._tasks:
            self._tasks[workload] = self._progress.add_task(f"  {workload}", total=total)
        self._progress.update(self._tasks[workload], completed=done, total=total)
