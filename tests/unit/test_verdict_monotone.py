"""Whatever gets worse, the verdict never gets better; and whatever is missing, it is never VALID."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scenarios.verdict.invariants.evidence import Count, Evidence, Level
from scenarios.verdict.verdict import judge
from tests.examples import examples
from tests.unit.evidence_factory import at_share, calibration, evidence, ledger, sentinel

# Each measurement as a badness from 0 (flawless) upwards; the scale is that of its limit.
SCALE = {"rate": 0.03, "rtt": 0.3e-3, "lost": 1.0, "busy": 0.425, "steal": 0.05, "switch": 1 / 3, "engine": 0.15,
         "nice": 1.0, "delay": 2.5e-3, "lateness": 0.1, "accounting": 1.0, "link": 0.05, "windows": 1.0,
         "sentinels": 1.0}
BADNESS = st.fixed_dictionaries({k: st.one_of(st.just(0.0), st.floats(0, 3)) for k in SCALE})
WORSE = st.fixed_dictionaries({k: st.one_of(st.just(0.0), st.floats(0, 2)) for k in SCALE})


def spoiled(badness: dict[str, float], locked: bool = True) -> Evidence:
    x = {k: badness[k] * SCALE[k] for k in SCALE}
    counters = at_share(1 - min(x["link"], 1), 5.0, 5.0 + 0.25 * (1 + int(x["windows"])))
    cpu = [replace(c, idle=max(0.5 - x["busy"], 0.0), steal=x["steal"], nice={**c.nice, "leaf1": int(x["nice"])},
                   runq={**c.runq, "leaf1": x["switch"], "engine": x["engine"]}) if c.t == 13 else c
           for c in counters.cpu]
    probe = sentinel()
    probe.delay[3000:3100] += x["delay"]
    probe.delay[:int(x["sentinels"])] = np.nan
    return evidence(
        counters=replace(counters, cpu=tuple(cpu)), calibration=calibration(-x["rate"], x["rtt"]),
        emulator={"leaf1": Count(3, 3 + int(x["lost"]))}, sentinels=(probe,), lateness_p99={"engine": x["lateness"]},
        ledger=ledger(received=990 - int(x["accounting"])), locked=locked)


@examples(60)
@given(BADNESS, WORSE, st.booleans(), st.booleans())
def test_making_anything_worse_never_improves_any_level(before: dict[str, float], more: dict[str, float],
                                                        locked: bool, unlock: bool) -> None:
    after = {k: before[k] + more[k] for k in before}
    first, then = judge(spoiled(before, locked)), judge(spoiled(after, locked and not unlock))
    assert then.level >= first.level
    assert all(b.level >= a.level for a, b in zip(first.checked, then.checked, strict=True))


MISSING: dict[str, Any] = {"counters": None, "calibration": None, "audit": None, "emulator": None, "ledger": None,
                           "lateness_p99": {}, "sentinels": (), "phases": (), "locked": None}


@examples(40)
@given(BADNESS, st.sets(st.sampled_from(sorted(MISSING)), min_size=1))
def test_missing_evidence_is_never_valid(badness: dict[str, float], gone: set[str]) -> None:
    verdict = judge(replace(spoiled(badness), **{k: MISSING[k] for k in gone}))
    assert verdict.level > Level.VALID
    assert verdict.reasons


@examples(40)
@given(BADNESS)
def test_reasons_and_level_belong_together(badness: dict[str, float]) -> None:
    verdict = judge(spoiled(badness))
    assert verdict.level == max((r.level for r in verdict.reasons), default=Level.VALID)
    assert all(r.level > Level.VALID and r.text for r in verdict.reasons)
