"""What is done in the VM, and whether it went as it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TypedDict

PYTHON = "/opt/aifab/venv/bin/python"
TESTS = f"{PYTHON} -m pytest -p no:cacheprovider"
# Of the ledger's incasts the one of three senders, once: userspace switches forward few packets here.
LAB_TESTS = (f"{TESTS} -k 'not 7- and not 3-1 and not 3-2' "
             "tests/lab/test_kernel.py tests/lab/test_ledger.py tests/lab/test_remote_vtep.py")
# Every unit test, on fewer drawn examples. Plain asserts, for to rewrite them takes an emulated processor a minute.
UNIT_TESTS = f"AIFAB_EXAMPLES=10 chrt --idle 0 {TESTS} --assert=plain --showlocals"
# Labs leave half of the machine idle while they start, and nothing here is timed: unit tests take what is left over, in
# the idle class (docs/decisions/042-a-spoilt-network-is-built-again.md), in a process on each processor; one that deals
# tests out to others would cost a third one.
ALL_TESTS = ("files=$(ls tests/unit/test_*.py tests/test_layers.py); "
             'share() { echo "$files" | awk "int(NR / 16) % 2 == $1"; }; '      # halves of a host's time for them
             f"{UNIT_TESTS} $(share 0) > $RESULTS/unit-tests-1.log 2>&1 & one=$!; "
             f"{UNIT_TESTS} $(share 1) > $RESULTS/unit-tests-2.log 2>&1 & two=$!; "
             f"{LAB_TESTS}; labs=$?; wait $one || exit; wait $two || exit; exit $labs")
REPORTED = "delay"
VALID, INVALID, SUSPECT = 0, 3, 4       # exit codes of `aifab run`
# Invariants that a slow machine breaks, and an emulated processor is one. The rates of wires, packet accounting, and
# loss in the emulator are not among them.
SPEED = frozenset({"link", "headroom", "timers"})


@dataclass(frozen=True)
class Step:
    """One command of a shell in /vagrant as root. allowed: its good exit codes; timeout in seconds."""

    name: str
    command: str
    timeout: int = 300
    allowed: tuple[int, ...] = (0,)


def scenario(name: str, timeout: int = 400) -> Step:
    """A scenario of vm/scenarios, run once more if its network was not the one of its spec (vm/repeat.py).

    An emulator inside an emulated processor may be short of headroom: SUSPECT says so and is recorded,
    with its reasons. INVALID passes only where nothing but speed broke it (SPEED); it stays INVALID in what is
    reported. A report takes up to a fifth of a run's time there: one scenario has it (REPORTED).
    """
    less = "" if name == REPORTED else " --no-report"
    run = f"aifab run vm/scenarios/{name}.yml --runs $RESULTS/runs{less}"
    return Step(f"scenario {name}", f"{run}; code=$?; [ $code != {INVALID} ] || "
                f"! {PYTHON} -m vm.repeat $RESULTS/runs 'scenario {name}' || {{ {run}; code=$?; }}; exit $code",
                timeout, allowed=(VALID, SUSPECT))


STEPS = (
    Step("provision", "bash vm/guest/set_up.sh", 600),
    Step("provision again", "bash vm/guest/set_up.sh", 60),
    Step("doctor", "aifab doctor"),
    Step("lab and unit tests", ALL_TESTS, 1500),
    Step("round trip", f"{PYTHON} -m vm.rtt $RESULTS/rtt.json"),
    *(scenario(name) for name in ("incast-user", "incast-kernel", "delay", "loss", "cubic", "dctcp")),
)


@dataclass(frozen=True)
class Outcome:
    """One line of the summary. found: what the step's exit code or verdict says."""

    name: str
    seconds: float
    found: str
    good: bool


class Result(TypedDict):
    """What became of a step: its exit code, None where its time was over, and how long it took, s."""

    name: str
    exit: int | None
    seconds: float


def outcomes(steps: Sequence[Step], results: Sequence[Result],
             broken: Callable[[str], Set[str]] = lambda name: frozenset(),
             times: Callable[[str], int] = lambda name: 1) -> Iterator[Outcome]:
    """One for each step; a step without a result was never reached.

    broken: name of a scenario's step -> the invariants that made its last run INVALID.
    times: name of a scenario's step -> how often it ran.
    """
    by_name = {r["name"]: r for r in results}
    for step in steps:
        result = by_name.get(step.name)
        if result is None:
            yield Outcome(step.name, 0.0, "not reached", False)
        elif result["exit"] is None:
            yield Outcome(step.name, result["seconds"], f"not done within {step.timeout} s", False)
        elif step.name.startswith("scenario "):
            yield _verdict(step, result, broken(step.name), times(step.name))
        else:
            code = result["exit"]
            yield Outcome(step.name, result["seconds"], "fine" if code == 0 else f"exit code {code}",
                          code in step.allowed)


def _verdict(step: Step, result: Result, broken: Set[str], times: int) -> Outcome:
    code = result["exit"]
    found = {VALID: "VALID", INVALID: "INVALID", SUSPECT: "SUSPECT"}.get(code or 0, f"exit code {code}")
    only_slow = code == INVALID and bool(broken) and broken <= SPEED
    if only_slow:
        found += f" by {', '.join(sorted(broken))}: this machine is too slow for it; its packet accounting holds"
    if times > 1:
        found += f" (run {times}: in the one before, calibration found a network that differs from the spec)"
    return Outcome(step.name, result["seconds"], found, code in step.allowed or only_slow)
