"""The counters of a run: every wire's queues, and who waited for a processor. A process of its own.

    python -m topologies.proof.sampler --inventory PATH --output counters.jsonl --t0 T0 [--period 0.05]
                                       [--watch leaf1=123 ..]

Where a direction X->Y is queued, and who counts that, the lab's datapath knows (topologies/switches).

Lines of the output, times in seconds since t0 (CLOCK_MONOTONIC):
    {"kind":"header","period","asked","scheduler","cores","directions":[..],"rates":[bit/s],
     "queues":[bytes],"frames":[bytes of a full frame],"switches":[..],"watched":[..]}
    {"kind":"wires","t","took","late","v":[[bytes,packets,drops,backlog],..]}       in header order, as read
    {"kind":"cpu","t","seconds","idle","steal","softirq","runq":{name: fraction},"busy":{},"nice":{},"gone":[..],
     "doubt":{name: [at most, claimed]}}
idle, steal and softirq are shares of wall time x processors. doubt names the processes of which the kernel counted more
waiting than there can have been (topologies/proof/run_queue.py): runq without those counts, with the most that they can
stand for, and the largest of them, all as fractions.
Of a direction with classes v is the sum over their queues, backlog that over those that may use all of the link.
t is the middle of a reading that took `took` seconds and began `late` seconds behind its schedule.

Standard input: "watch NAME PID", "unwatch NAME", "second", "stop"; end of file stops too. A process watched
this way may end within the second: what it did until then is in the next cpu line. "second" ends the second here
and begins the next one, so that no cpu line lies half in a phase; a rest too short to tell of goes on. Standard output:
ready, then done or error (topologies/access/events.py). The process ends with its parent (strictly: with the
parent's thread that started it).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from topologies.access import files
from topologies.access.events import Done, Failed, Ready, emit
from topologies.access.process import allow_most_files, die_with_parent
from topologies.model.errors import LabError, RunError
from topologies.model.inventory import Inventory
from topologies.proof.cpu import Machine
from topologies.proof.run_queue import Process, ProcessTime
from topologies.switches.datapath import Reading
from topologies.switches.datapaths import datapath_of

PERIOD = 0.05
OWN_SHARE = 0.03        # of a core; a fabric that costs more is sampled more slowly
PERIOD_STEP = 0.01
CPU_PERIOD = 1.0
MIN_CPU_PERIOD = 0.5    # /proc/stat counts in hundredths of a second: a shorter rest would say nothing
FIFO_PRIORITY = 5       # above the switches, which are watched


class Output:
    """A file of whole lines: what a full disk cuts short is taken back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[str] = []
        try:
            self._fd = files.new_file(path)
        except OSError as error:
            raise RunError(str(path), "a file for the counters", error.strerror or str(error)) from None
        self._size = 0

    def add(self, line: dict[str, object]) -> None:
        self._lines.append(json.dumps(line, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        data = memoryview("".join(self._lines).encode())
        self._lines.clear()
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError as error:
            whole = bytes(data[:done]).rfind(b"\n") + 1
            os.ftruncate(self._fd, self._size + whole)
            raise RunError(str(self.path), "room for the counters", error.strerror or str(error),
                           "make room and run again; the counters so far are kept") from None
        self._size += done


class Sampler:
    """Reads on a fixed schedule until it is told to stop."""

    def __init__(self, inventory: Inventory, output: Path, t0: float, period: float) -> None:
        self._inventory, self._t0, self._asked = inventory, t0, period
        datapath = datapath_of(inventory)
        self._wires, self._switches = datapath.sampling(inventory), list(datapath.processes(inventory))
        self._output = Output(output)
        self._machine = Machine()
        self._watched: dict[str, Process] = {}
        self._ended: dict[str, ProcessTime] = {}    # unwatched since the last cpu line
        self._cpu_from = 0.0                        # when the second began that the next cpu line is about
        self._counted = False
        self.stopping = False
        self.watch("sampler", os.getpid())

    def watch(self, name: str, pid: int) -> None:
        self._watched[name] = Process(pid)

    def command(self, line: str) -> None:
        """One line of standard input. Raises RunError on a line that is no command."""
        match line.split():
            case ["watch", name, pid] if pid.isdecimal():
                self.watch(name, int(pid))
            case ["unwatch", name]:
                self._unwatch(name)
            case ["second"]:
                if time.monotonic() - self._cpu_from >= MIN_CPU_PERIOD:
                    self._cpu()
            case ["stop"]:
                self.stopping = True
            case []:
                pass
            case _:
                raise RunError("the sampler's standard input", "watch NAME PID, unwatch NAME, second or stop",
                               line.strip())

    def _unwatch(self, name: str) -> None:
        """Its last part of a second still goes into the next cpu line."""
        process = self._watched.pop(name, None)
        if process is not None:
            if (last := process.step()) is not None:
                self._ended[name] = last
            process.close()

    def run(self) -> None:
        """Sample until stopped, with a last sample at the end."""
        scheduler = _real_time()
        period, first = self._choose_period()
        self._output.add(self._header(period, first, scheduler))
        emit(Ready())
        commands = _Commands(self)
        due = self._cpu_from = time.monotonic()
        while not self.stopping:
            self._sample(due)
            if due - self._cpu_from >= CPU_PERIOD - period / 2:
                self._cpu()
            due += period
            if due < time.monotonic():      # late by more than a period: the missed readings are not made up for
                due += math.ceil((time.monotonic() - due) / period) * period
            commands.until(due - period / 2)    # real time holds switches up: two short halts, not a long one
            for process in list(self._watched.values()):
                process.look()
            commands.until(due)
        self._sample(time.monotonic())
        if not self._counted or time.monotonic() - self._cpu_from >= MIN_CPU_PERIOD:
            self._cpu()
        self._output.flush()

    def _choose_period(self) -> tuple[float, Sequence[Reading]]:
        """The period asked for, or the longer one at which sampling costs OWN_SHARE of a core."""
        costs = []
        for _ in range(5):
            begin = time.process_time()
            first = self._wires.read()
            json.dumps([[q.bytes, q.packets, q.drops, q.backlog] for q in first])
            costs.append(time.process_time() - begin)
        needed = math.ceil(min(costs) / OWN_SHARE / PERIOD_STEP) * PERIOD_STEP
        return max(self._asked, needed), first

    def _header(self, period: float, first: Sequence[Reading], scheduler: str) -> dict[str, object]:
        where, links = self._wires.queues, self._inventory.fabric.links_by_name
        return {"kind": "header", "period": period, "asked": self._asked, "scheduler": scheduler,
                "cores": os.cpu_count(), "directions": [q.direction for q in where],
                "rates": [q.rate for q in where], "queues": [q.limit for q in first],
                "frames": [links[q.link].max_frame for q in where], "switches": self._switches,
                "watched": list(self._watched)}

    def _sample(self, due: float) -> None:
        begin = time.monotonic()
        counts = self._wires.read()
        took = time.monotonic() - begin
        self._output.add({"kind": "wires", "t": round(begin + took / 2 - self._t0, 6), "took": round(took, 6),
                          "late": round(begin - due, 6),
                          "v": [(q.bytes, q.packets, q.drops, q.backlog) for q in counts]})

    def _cpu(self) -> None:
        """One cpu line about the time since the last one."""
        now = time.monotonic()
        seconds, self._cpu_from, self._counted = now - self._cpu_from, now, True
        line: dict[str, object] = {"kind": "cpu", "t": round(now - self._t0, 6), "seconds": round(seconds, 6)}
        line |= {k: round(v, 4) for k, v in self._machine.step()._asdict().items()}
        steps = {name: process.step() for name, process in self._watched.items()}
        alive = self._ended | {name: step for name, step in steps.items() if step is not None}
        self._ended = {}
        line["runq"] = {name: round(step.runq, 4) for name, step in alive.items()}
        line["busy"] = {name: round(step.busy, 4) for name, step in alive.items()}
        line["nice"] = {name: step.nice for name, step in alive.items()}
        line["doubt"] = {name: [round(step.at_most, 4), round(step.claimed, 4)] for name, step in alive.items()
                         if step.claimed}
        line["gone"] = [name for name, step in steps.items() if step is None]
        self._output.add(line)
        self._output.flush()


class _Commands:
    """Lines of standard input, read while waiting for the next sample."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._rest = b""

    def until(self, due: float) -> None:
        """Wait until `due` (CLOCK_MONOTONIC) or until told to stop."""
        while not self._sampler.stopping and (left := due - time.monotonic()) > 0:
            readable, _, _ = select.select([0], [], [], left)
            if readable:
                self._take(os.read(0, 65536))

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._sampler.command(line.decode(errors="replace"))
        if not data:
            self._sampler.stopping = True


def _real_time() -> str:
    """Run before ordinary processes, so that a busy machine is seen and not only suffered."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except OSError:
        return "other"
    return "fifo"


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m topologies.proof.sampler",
                                     description="Sample the counters of a lab.")
    parser.add_argument("--inventory", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--t0", type=float, required=True, help="CLOCK_MONOTONIC seconds of the run's start")
    parser.add_argument("--period", type=float, default=PERIOD, help="seconds between samples")
    parser.add_argument("--watch", nargs="*", default=[], metavar="NAME=PID")
    return parser.parse_args(argv)


def _watch_all(sampler: Sampler, pairs: Sequence[str]) -> None:
    for pair in pairs:
        name, _, pid = pair.rpartition("=")
        if not name or not pid.isdecimal():
            raise RunError(f"--watch {pair}", "NAME=PID", pair)
        sampler.watch(name, int(pid))


def main(argv: Sequence[str]) -> int:
    """Exit code 0 after a clean stop, 1 after an error event."""
    arguments = _arguments(argv)
    die_with_parent()
    allow_most_files()      # two of each watched thread stay open: on a wide fabric more than the usual limit of 1,024
    try:
        sampler = Sampler(Inventory.read(arguments.inventory), arguments.output, arguments.t0, arguments.period)

        def stop(*_: object) -> None:
            sampler.stopping = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        _watch_all(sampler, arguments.watch)
        sampler.run()
    except LabError as error:
        emit(Failed.of(error))
        return error.exit_code
    emit(Done())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
