"""Records: what is written is what is read, and no half line stays behind."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from tests.recorded import records
from topologies.model.errors import LabError
from traffic.runtime import records as module
from traffic.runtime.reading import lines
from traffic.runtime.records import CollectiveRecord, LatenessRecord, RecordWriter, StepRecord, encode

LATENESS = LatenessRecord(phase="main", t=1.0, n=100, p50=0.0001, p99=0.002, max=0.003)


def test_records_of_a_kind_come_back_as_they_were(tmp_path):
    path = tmp_path / "r.jsonl"
    ring = CollectiveRecord(
        workload="w", phase="main", iteration=-1, op="ar", collective="all-reduce", algorithm="ring", ranks=(0, 1),
        bytes=10, start=0.5, end=1.5, rank_start=(0.5, 0.6), rank_end=(1.4, 1.5))
    step = StepRecord(workload="w", phase="main", iteration=0, start=0.5, end=1.5, ranks=((0.5, 1.5), None))
    with RecordWriter(path) as writer:
        for record in (ring, LATENESS, step):
            writer.write(record)
    assert list(records(path, CollectiveRecord)) == [ring]
    assert list(records(path, StepRecord)) == [step]
    assert [line["kind"] for line in lines(path)] == ["collective", "timer-lateness", "step"]


def test_times_keep_their_microseconds_and_no_more():
    assert '"t":1.234568,' in encode(LatenessRecord(phase="main", t=1.23456789, n=1, p50=0.0, p99=0.0, max=0.0))


def test_a_pump_encodes_a_few_and_a_flush_the_rest(tmp_path):
    writer = RecordWriter(tmp_path / "r")
    for _ in range(10):
        writer.write(LATENESS)
    writer.pump(3)
    writer.write_out()
    assert len(list(lines(tmp_path / "r"))) == 3
    writer.flush()
    assert len(list(lines(tmp_path / "r"))) == 10
    writer.close()


def test_two_writers_append_to_one_file(tmp_path):
    path = tmp_path / "r"
    with RecordWriter(path) as one, RecordWriter(path) as two:
        for writer in (one, two, one):
            writer.write(LATENESS)
            writer.flush()
    assert len(list(lines(path))) == 3


def test_a_full_disk_is_reported_as_such(tmp_path):
    writer = RecordWriter(tmp_path / "r")
    os.dup2(os.open("/dev/full", os.O_WRONLY), writer._fd)
    writer.write(LATENESS)
    with pytest.raises(LabError) as caught:
        writer.flush()
    assert "/r: expected room for the run's records; found No space left on device" in str(caught.value)
    writer.close()


def test_a_disk_that_fills_in_the_middle_of_a_line_keeps_whole_lines_only(tmp_path, monkeypatch):
    path, real, room = tmp_path / "r", os.write, [150]

    def write(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        took = real(fd, data[:room[0]])
        room[0] -= took
        return took

    writer = RecordWriter(path)
    for _ in range(5):
        writer.write(LATENESS)
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(LabError, match="room for the run's records"):
        writer.flush()
    monkeypatch.undo()
    line = len(encode(LATENESS)) + 1
    assert path.stat().st_size == 150 // line * line > 0
    assert all(r == LATENESS for r in records(path, LatenessRecord))
    writer.close()


def test_a_directory_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(LabError, match="a file that can be written; found No such file"):
        RecordWriter(tmp_path / "no" / "r")


def test_a_last_line_cut_short_is_left_out_but_one_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "r"
    good = encode(LATENESS)
    path.write_text(f"{good}\n{good}\n{good[:20]}")
    assert len(list(lines(path))) == 2
    path.write_text(f"{good}\n{good[:20]}\n{good}\n")
    with pytest.raises(LabError, match=r"r:2: expected a record"):
        list(lines(path))
    with pytest.raises(LabError, match="a file of records; found No such file"):
        list(lines(tmp_path / "none"))


def test_the_description_names_every_kind_and_field():
    text = (Path(__file__).parents[2] / "docs/reference/records.md").read_text()
    kinds = [c for name, c in vars(module).items() if name.endswith("Record") and hasattr(c, "kind")]
    assert len(kinds) > 8
    for kind in kinds:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{kind.kind}`"))
        for f in fields(kind):
            assert f.name in row, (kind.kind, f.name)
