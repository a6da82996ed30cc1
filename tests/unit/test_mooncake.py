"""Mooncake traces: their slots, their windows, and what an endless cache has seen of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.test_serving_models import MOONCAKE, SAMPLE
from topologies.model.errors import TraceError
from traffic.inference.kv.cache import Hierarchy, Tier, reuse
from traffic.inference.requests import trace_notes
from traffic.traces.mooncake import CachedRequest, read, read_spread, slot_of, spread
from traffic.workloads.specs import ServingSpec

# --- Mooncake -------------------------------------------------------------------------------------


def test_one_endless_cache_has_seen_28_percent_of_mooncakes_blocks() -> None:
    if not MOONCAKE.exists():
        pytest.skip("the Mooncake cut is not beside the repository")
    prompts = [r.blocks for r in read(MOONCAKE)]
    assert len(prompts) == 1750
    found, total = reuse(prompts, Hierarchy([Tier("gpu", None, 1)]))
    assert found / total == pytest.approx(0.284, abs=5e-4)
    found, total = reuse([p[1:] for p in prompts], Hierarchy([Tier("gpu", None, 1)]))
    assert found / total == pytest.approx(0.257, abs=5e-4)


def test_a_batch_of_stamps_is_spread_inside_its_slot_in_order() -> None:
    requests = read(SAMPLE)
    assert {r.arrival % 3 for r in requests} == {0}
    moved = spread(requests, seed=3, slot=3.0)
    assert [r.blocks for r in moved] == [r.blocks for r in requests]
    assert [r.arrival for r in moved] == sorted(r.arrival for r in moved)
    assert all(0 <= b.arrival - a.arrival < 3 for a, b in zip(requests, moved, strict=True))
    assert len({r.arrival for r in moved}) == len(moved)
    assert spread(requests, seed=3, slot=3.0) == moved != spread(requests, seed=4, slot=3.0)


def stamped(*stamps: int) -> list[CachedRequest]:
    return [CachedRequest(ms / 1000, 512, 1, (k,)) for k, ms in enumerate(stamps)]


def test_the_slots_of_a_trace_are_found_in_its_stamps() -> None:
    rounded = [3000 * slot for slot in range(12) for _ in range(1 + slot % 3)]
    assert slot_of(stamped(*rounded)) == 3.0
    assert slot_of(stamped(*(500 + stamp for stamp in rounded))) == 3.0
    assert slot_of(read(SAMPLE)) == 3.0


@pytest.mark.parametrize("stamps", [
    (0, 0, 100),                                            # too few to tell
    tuple(3000 * k for k in range(9) for _ in range(1 + k % 2)),
    tuple(1000 * k for k in range(20) for _ in range(4)),   # bursts that somebody made
    tuple(250 * k for k in range(20) for _ in range(1 + k % 2)),
    (*(3000 * k for k in range(20)), 60_001, 60_001)])      # one exact stamp, and it is no grid
def test_exact_stamps_are_left_alone(stamps: tuple[int, ...]) -> None:
    assert slot_of(stamped(*stamps)) == 0.0


def test_equal_stamps_of_an_exact_trace_stay_equal_and_its_notes_say_so(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"timestamp": ms, "input_length": 512, "output_length": 8, "hash_ids": [k]}
            for k, ms in enumerate((0, 0, 100))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [r.arrival for r in read_spread(path, None, seed=1)] == [0.0, 0.0, 0.1]
    exact = ServingSpec.model_validate({"kind": "serving", "trace": str(path), "format": "mooncake"})
    assert trace_notes(exact) == {"arrivals": "as stamped"}
    rounded = exact.model_copy(update={"trace": str(SAMPLE)})
    assert "rounded to 3 s in the trace" in trace_notes(rounded)["arrivals"]


def test_a_window_counts_from_its_own_start() -> None:
    requests = read(SAMPLE, (9.0, 21.0))
    assert min(r.arrival for r in requests) == 0
    assert max(r.arrival for r in requests) < 12


GOOD = {"timestamp": 3000, "input_length": 600, "output_length": 5, "hash_ids": [0, 7]}


@pytest.mark.parametrize(("row", "text"), [
    ({**GOOD, "hash_ids": [0]}, "expected 2 hash_ids, one for each 512 of 600 tokens; found 1"),
    ({**GOOD, "hash_ids": "0 7"}, "expected hash_ids, a list of whole numbers; found 0 7"),
    ({**GOOD, "input_length": 0}, "expected input_length, a whole number of 1 or more; found 0"),
    ({**GOOD, "timestamp": 1.5}, "expected timestamp, a whole number of 0 or more; found 1.5"),
    ({k: v for k, v in GOOD.items() if k != "output_length"}, "expected output_length"),
    ({**GOOD, "timestamp": 0}, "expected rows in the order of time; found 0 s after 3 s"),
])
def test_a_row_that_is_wrong_is_named(tmp_path: Path, row: dict[str, object], text: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(TraceError) as error:
        read(path)
    assert f"{path}:2: {text}" in str(error.value)


def test_an_empty_window_says_how_far_the_trace_goes(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(GOOD) + "\n")
    assert read(path) == [CachedRequest(3.0, 600, 5, (0, 7))]
    with pytest.raises(TraceError, match="the trace goes on until 3 s"):
        read(path, (10.0, 20.0))
