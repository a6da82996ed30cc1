"""What the benchmarks compute and write, without a lab."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from scenarios.spec.load_scenario import load_scenario
from tests.bench import beside, tensor
from tests.bench import book as books
from tests.bench.beside import p99, recovered
from tests.bench.book import Book
from tests.bench.gloo import require_torch, second
from tests.bench.labs import Row
from tests.bench.ring import engine_share, idle, segments_per_ack
from tests.bench.weighted import all_to_all, busiest, ideal
from topologies.model.errors import LabError
from topologies.model.expansion import expand
from traffic.runtime.records import PathRecord


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    monkeypatch.setattr(books, "RESULTS", tmp_path)
    return Book("ring", "at least 0.97", quick=False)


def test_a_second_run_on_the_same_day_is_appended_to_the_file_of_the_first(book: Book) -> None:
    book.figure("share", 0.98, target="at least 0.97", met=True)
    path = book.save()
    book.figure("wide", 0.9, target="at least 0.97", met=False)
    assert book.save() == path
    first, second = json.loads(path.read_text())
    assert [f["name"] for f in first["figures"]] == ["share"]
    assert [f["name"] for f in second["figures"]] == ["share", "wide"]
    assert (first["met"], second["met"]) == (True, False)
    assert first["machine"]["versions"]["kernel"]


def test_a_benchmark_that_broke_has_not_met_its_target(book: Book) -> None:
    book.figure("share", 0.98, target="at least 0.97", met=True)
    book.error = "the fabric did not come up"
    assert json.loads(book.save().read_text())[0]["met"] is False


def test_figures_without_a_target_are_neither_met_nor_missed(book: Book) -> None:
    book.figure("busy", 1.24, "cores")
    assert json.loads(book.save().read_text())[0]["met"] is None


def test_a_median_is_printed_with_its_samples_and_range(book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    book.median("lost", [3, 20, 5], "packets", target="at most 12", met=True)
    assert capsys.readouterr().out == ("  lost: 5 packets   (target: at most 12, met)\n"
                                       "    3 samples from 3 to 20\n")
    assert book.figures[0].detail == {"samples": [3, 20, 5], "least": 3, "most": 20}


def test_segments_per_ack_come_from_the_bytes_and_packets_of_the_hosts_own_queues() -> None:
    start, data, acks = (7_000, 50), 1000, 500      # k = 2; the leaf's own direction must not count
    header = {"kind": "header", "directions": ["h1->leaf1", "leaf1->h1"]}
    counters: list[Row] = [
        header,
        {"kind": "wires", "t": 0.0, "v": [[0, 0, 0, 0], [0, 0, 0, 0]]},
        {"kind": "wires", "t": 1.0, "v": [[*start, 0, 0], [9, 9, 0, 0]]},
        {"kind": "wires", "t": 2.0, "v": [[start[0] + 1514 * data + 66 * acks, start[1] + data + acks, 0, 0],
                                          [9_999_999, 12_345, 0, 0]]},
        {"kind": "wires", "t": 3.0, "v": [[99_999_999, 99_999, 0, 0], [0, 0, 0, 0]]}]
    assert segments_per_ack(counters, {"h1"}, 1500, (0.5, 2.5)) == pytest.approx(2.0)


def test_idle_time_is_reported_of_the_seconds_that_lie_in_the_window_as_a_whole() -> None:
    counters = [{"kind": "cpu", "t": t, "seconds": 1.0, "idle": t / 10} for t in (1.0, 2.0, 3.0, 4.0)]
    assert idle(counters, (1.0, 3.5)) == [0.2, 0.3]


def test_the_engines_share_is_cpu_seconds_for_each_100_megabit() -> None:
    records: list[Row] = [{"kind": "engine", "cpu_seconds": 1.0, "bytes": 125_000_000}, {"kind": "step"}]
    assert engine_share(records) == pytest.approx(0.1)


def test_a_step_lasts_from_the_first_start_to_the_last_end_and_the_first_one_does_not_count() -> None:
    assert second([(-1, 0.0, 9.0), (0, 10.0, 11.0), (0, 10.5, 12.0)]) == 2.0


def test_a_python_without_pytorch_is_named_with_the_way_to_get_one(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho ModuleNotFoundError: No module named torch >&2; exit 1\n")
    python.chmod(0o755)
    with pytest.raises(LabError, match="No module named torch") as caught:
        require_torch(str(python))
    assert caught.value.where == str(python)
    assert "AIFAB_TORCH_PYTHON" in caught.value.hint
    with pytest.raises(LabError, match="No such file"):
        require_torch(str(tmp_path / "none"))


def test_what_a_design_gives_back_is_its_part_of_what_the_flat_network_cost() -> None:
    row = {"alone": {"ttft": [0.07, 0.08, 0.09]}, "flat": {"ttft": [0.1, 0.18, 0.3]},
           "half": {"ttft": [0.13, 0.13, 0.2]}, "worse": {"ttft": [0.28]}}
    assert [recovered(row, name) for name in ("flat", "half", "alone", "worse")] == pytest.approx([0, 0.5, 1, -1])


def test_a_p99_is_over_the_requests_of_all_seeds() -> None:
    assert p99([{"ttft": [0.001] * 99}, {"ttft": [0.001] * 98 + [0.5] * 4}]) == pytest.approx(500.0)


@pytest.mark.parametrize(("name", "options"), [
    *((beside.NAME, options) for options in beside.DESIGNS.values()), (beside.NAME, beside.SHORT),
    ("inference-tensor-parallel", tensor.ALONE)])
def test_what_a_benchmark_changes_of_a_library_scenario_still_fits_it(name: str, options: Sequence[str]) -> None:
    assert load_scenario(name, options).phases


def test_the_busiest_link_is_the_one_that_has_most_to_carry_for_its_rate() -> None:
    fabric = expand(all_to_all("weighted", 8_000_000, 1).fabric)

    def flow(number: int, spine: int) -> PathRecord:
        there, back = ((f"{a}->leaf{m}", f"leaf{m}->spine{spine}", f"spine{spine}->leaf{n}", f"leaf{n}->{b}")
                       for a, m, n, b in (("h1", 1, 2, "h5"), ("h5", 2, 1, "h1")))
        return PathRecord(
            workload="shuffle", phase="main", src="h1", dst="h5", src_rank=0, dst_rank=1, number=number,
            sport=1000 + number, dport=7000, there=there, back=back)

    one = busiest([flow(0, 2)], fabric, 1e6)
    assert one == pytest.approx(8e6 * (1514 + 50) / 1448 / 5.3e6)
    assert busiest([flow(0, 2), flow(1, 3)], fabric, 1e6) == pytest.approx(
        2 * 8e6 * 1514 / 1448 / 10e6)      # the host's own link, at 10 Mbit/s, has both
    assert busiest([flow(0, 2), flow(1, 2)], fabric, 1e6) == pytest.approx(2 * one)
    assert busiest([flow(0, 1), flow(1, 2)], fabric, 1e6) == pytest.approx(4 * one)     # the slow one
    assert ideal(8_000_000) > 16 * one / 3.25
