"""python -m tests.bench [NAME...] [--quick] [--list]: run benchmarks, write their figures to bench-results/."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from tests.bench.agents import agents
from tests.bench.beside import beside
from tests.bench.book import Book
from tests.bench.bringup import bringup
from tests.bench.changes import changes
from tests.bench.collectives import collectives
from tests.bench.compile import compile_rules
from tests.bench.daynight import daynight
from tests.bench.ecmp import ecmp
from tests.bench.engine import engine
from tests.bench.engine_bringup import engine_bringup
from tests.bench.engine_capacity import engine_capacity
from tests.bench.engine_ecn import engine_ecn
from tests.bench.engine_incast import engine_incast
from tests.bench.engine_killed import engine_killed
from tests.bench.engine_lone_frame import engine_lone_frame
from tests.bench.engine_pfc import engine_pfc
from tests.bench.failover import failover
from tests.bench.fuzz import fuzz
from tests.bench.gloo import gloo
from tests.bench.incast import incast
from tests.bench.inference import inference
from tests.bench.kvtravel import kv_travel
from tests.bench.latency import latency
from tests.bench.neighbour import neighbour
from tests.bench.newcomer import demo
from tests.bench.ring import ring
from tests.bench.roce import roce
from tests.bench.spread import spread
from tests.bench.study import study
from tests.bench.tensor import tensor
from tests.bench.training import training
from tests.bench.verify import verify
from tests.bench.weighted import weighted
from topologies.lab.host_limits import require_root
from topologies.model.errors import LabError

BENCHMARKS: dict[str, Callable[[Book], None]] = {
    f.__name__: f for f in (ring, collectives, incast, spread, ecmp, weighted, training, neighbour, engine, failover,
                            latency, roce, gloo, bringup, demo, verify, changes, fuzz, inference, beside, study, agents,
                            tensor, kv_travel, daynight, compile_rules, engine_capacity, engine_lone_frame,
                            engine_incast, engine_ecn, engine_pfc, engine_killed, engine_bringup)}
QUIET = 0.5     # load average above which figures are in doubt


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 all ran (whether or not a target was met), 1 one of them broke, 2 usage, 130 Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the lab; figures go to files.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; default: all")
    parser.add_argument("--quick", action="store_true", help="short forms, to see that they work: no figures to quote")
    parser.add_argument("--list", action="store_true", help="name every benchmark with its target")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if chosen.list:
        for name in chosen.names or BENCHMARKS:
            print(f"{name:10} {target_of(name)}")
        return 0
    try:
        require_root()
        return max([run(name, chosen.quick) for name in chosen.names or BENCHMARKS])
    except LabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:       # what was found so far is saved
        return 130


def target_of(name: str) -> str:
    """A benchmark's docstring, which states what it has to reach."""
    return " ".join((BENCHMARKS[name].__doc__ or "").split())


def run(name: str, quick: bool) -> int:
    """Run one benchmark and save what it found, also where it breaks. Returns 0 or 1."""
    load = os.getloadavg()[0]
    print(f"{name}: {target_of(name)}", flush=True)
    if load > QUIET:
        print(f"  warning: load average {load:.2f}: this machine is busy with something else", flush=True)
    book = Book(name, target_of(name), quick)
    try:
        BENCHMARKS[name](book)
    except LabError as error:
        book.error = str(error)
    except KeyboardInterrupt:
        book.error = "interrupted"
        raise
    except Exception:
        book.error = traceback.format_exc()
    finally:
        if book.error:
            print(f"  BROKE: {book.error}", file=sys.stderr, flush=True)
        print(f"  -> {book.save()}", flush=True)
    return 1 if book.error else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
