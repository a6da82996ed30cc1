"""Request traces: every row or an error that names the row; open-loop workloads made of them."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.model.errors import SpecError, TraceError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.scale import MIN_PACKETS
from topologies.model.spec import BorderSpec, FabricSpec, ScaleSpec
from traffic.traces import azure
from traffic.traces.azure import HEADER, Request, read
from traffic.traces.requests import requests_workload
from traffic.workloads.lowering import lower
from traffic.workloads.specs import RequestsSpec
from traffic.workloads.workload import Compute, Transfer, Workload

SAMPLE = Path(__file__).parents[2] / "scenarios" / "library" / "data" / "requests-small.csv"
PAUSE = "time_per_output_token"
ROWS = ["2024-02-03 10:00:00.5000000,100,20", "2024-02-03 10:00:00.5000001,0,1", "2024-02-03 10:00:04,7,300"]


def trace(directory: Path, *rows: str, header: str = HEADER, end: str = "\n") -> Path:
    path = directory / "trace.csv"
    path.write_text(end.join([header, *rows]) + end)
    return path


@pytest.fixture
def fabric() -> Fabric:
    return expand(FabricSpec(border=BorderSpec(hosts=2, rate="10mbit")))


def workload(path: Path, fabric: Fabric, seed: int = 1, **more: object) -> Workload:
    spec = RequestsSpec.model_validate({"kind": "requests", "trace": str(path), **more})
    return requests_workload(spec, fabric, "chat", seed)


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_arrivals_count_from_the_first_row_to_a_hundred_nanoseconds(tmp_path: Path, end: str) -> None:
    requests = read(trace(tmp_path, *ROWS, end=end))
    assert [(r.arrival, r.input_tokens, r.output_tokens) for r in requests] == [
        (0.0, 100, 20), (1e-7, 0, 1), (3.5, 7, 300)]


def test_a_window_holds_its_start_and_not_its_end_and_counts_from_its_start(tmp_path: Path) -> None:
    rows = [f"2024-02-03 10:00:0{s},{s},1" for s in range(6)]
    assert [(r.arrival, r.input_tokens) for r in read(trace(tmp_path, *rows), window=(2.0, 4.0))] == [(0, 2), (1, 3)]


def test_speedup_divides_arrivals(tmp_path: Path) -> None:
    assert [r.arrival for r in read(trace(tmp_path, *ROWS), speedup=7.0)][-1] == 0.5


@pytest.mark.parametrize(("row", "expected", "found"), [
    ("2024-02-03 10:00:05,7", "three fields", "2024-02-03 10:00:05,7"),
    ("2024-02-03 10:00:05,7,8,9", "three fields", "7,8,9"),
    ("", "three fields", "an empty line"),
    ("2024-02-03 10:00:05,-7,8", "a whole number of input tokens", "-7"),
    ("2024-02-03 10:00:05,7,8.5", "a whole number of output tokens", "8.5"),
    ("2024-02-03 10:00:05,,8", "a whole number of input tokens", "an empty line"),
    ("2024-02-30 10:00:05,7,8", "a time such as", "2024-02-30"),
    ("10:00:05,7,8", "a time such as", "10:00:05"),
    ("2024-02-03 10:00:03.9,7,8", "rows in the order of time", "earlier than line 4"),
])
def test_a_row_that_cannot_be_read_is_named_by_its_line(
        tmp_path: Path, row: str, expected: str, found: str) -> None:
    path = trace(tmp_path, *ROWS, row, "2024-02-03 10:00:06,1,1")
    with pytest.raises(TraceError) as error:
        read(path)
    assert error.value.where == f"{path}:5"
    assert expected in error.value.expected
    assert found in error.value.found


@pytest.mark.parametrize(("content", "found"), [
    (b"", "an empty file"), (b"a,b,c\n1,2,3\n", "a,b,c"), (b"\x7fELF\x02\xff\xfe", "a binary file"),
    (b"PK\x03\x04\0\0", "a binary file"), (HEADER.encode() + b"\n", "a header alone")])
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    with pytest.raises(TraceError) as error:
        read(path)
    assert found in error.value.found


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(TraceError, match="a trace file that can be read"):
            read(path)


def test_an_empty_window_says_how_long_the_trace_is(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"the trace goes on for 3\.5 s"):
        read(trace(tmp_path, *ROWS), window=(10.0, 20.0))


@given(gaps=st.lists(st.integers(0, 10**9), min_size=1, max_size=30), cut=st.floats(0.0, 100.0))
def test_windows_share_the_rows_out_without_loss(
        tmp_path_factory: pytest.TempPathFactory, gaps: list[int], cut: float) -> None:
    ticks = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    first = datetime(2024, 1, 1)
    rows = [f"{first + timedelta(seconds=t // 10**7)}.{t % 10**7:07d},{i},1" for i, t in enumerate(ticks)]
    path = trace(tmp_path_factory.mktemp("azure"), *rows)
    since = [(t - ticks[0]) / 10**7 for t in ticks]
    windows = [w for w in ((0.0, cut), (cut, 1e12)) if any(w[0] <= t < w[1] for t in since)]
    tokens = [r.input_tokens for window in windows for r in read(path, window)]
    assert tokens == list(range(len(gaps)))


@pytest.mark.parametrize(("name", "rows"), [("conv_t0000-0600s.csv", 2867), ("code_t0000-0600s.csv", 1482)])
def test_the_original_traces_keep_every_row_and_token(original_traces: Path, name: str, rows: int) -> None:
    path = original_traces / "azure_llm_2023" / name
    with path.open(newline="") as file:
        plain = list(csv.DictReader(file))
    requests = read(path)
    assert len(requests) == len(plain) == rows
    assert sum(r.input_tokens for r in requests) == sum(int(row["ContextTokens"]) for row in plain)
    assert sum(r.output_tokens for r in requests) == sum(int(row["GeneratedTokens"]) for row in plain)
    stamps = [datetime.fromisoformat(row["TIMESTAMP"][:26]) for row in plain]
    assert [r.arrival for r in requests] == pytest.approx([(s - stamps[0]).total_seconds() for s in stamps], abs=2e-6)


# --- workloads ------------------------------------------------------------------------------------


def test_a_request_is_a_transfer_there_work_and_an_answer_on_its_connection(tmp_path: Path, fabric: Fabric) -> None:
    w = workload(trace(tmp_path, *ROWS), fabric, bytes_per_output_token=8, **{PAUSE: "2ms"})
    req, work, resp = w.ops[:3]
    assert isinstance(req, Transfer)
    assert isinstance(work, Compute)
    assert isinstance(resp, Transfer)
    assert (req.id, req.size, req.at, req.after) == ("req/0", 400, 0.0, ())
    assert (work.id, work.rank, work.seconds, work.after) == ("work/0", req.dst, pytest.approx(0.04), ("req/0",))
    assert (resp.id, resp.size, resp.after, resp.reply) == ("resp/0", 160, ("work/0",), "req/0")
    assert (resp.src, resp.dst) == (req.dst, req.src)
    assert w.connections == "pool"


def test_a_prompt_without_tokens_still_sends_a_byte(tmp_path: Path, fabric: Fabric) -> None:
    sizes = {op.id: op.size for op in workload(trace(tmp_path, *ROWS), fabric).ops if isinstance(op, Transfer)}
    assert sizes["req/1"] == 1


def test_clients_are_outside_hosts_and_servers_workload_hosts_unless_reported(tmp_path: Path, fabric: Fabric) -> None:
    assert workload(trace(tmp_path, *ROWS), fabric).hosts == ("ext1", "ext2", *(f"h{i + 1}" for i in range(8)))
    reported = workload(trace(tmp_path, *ROWS), fabric, clients=["h1"], servers=["h8", "h3"])
    assert reported.hosts == ("h1", "h8", "h3")


def test_rounds_are_even_seeded_and_bring_every_client_to_every_server(fabric: Fabric) -> None:
    def pairs(seed: int) -> list[tuple[int, int]]:
        return [(op.src, op.dst) for op in workload(SAMPLE, fabric, seed).ops
                if isinstance(op, Transfer) and not op.reply]

    clients, servers = ([p[side] for p in pairs(1)] for side in (0, 1))
    assert [clients.count(c) for c in range(2)] == [75, 75]
    assert all(sorted(servers[i:i + 8]) == list(range(2, 10)) for i in range(0, 144, 8))
    assert len(set(pairs(1))) == 16
    assert pairs(1) == pairs(1) != pairs(2)


def test_no_request_waits_for_another(fabric: Fabric) -> None:
    for op in workload(SAMPLE, fabric).ops:
        number = op.id.split("/")[1]
        assert all(name.split("/")[1] == number for name in op.after)


def test_sizes_and_times_follow_the_fabrics_scale(tmp_path: Path, fabric: Fabric) -> None:
    scaled = expand(FabricSpec(border=BorderSpec(hosts=2, rate="10mbit"), scale=ScaleSpec(rate=0.1, size=0.5)))
    path = trace(tmp_path, *ROWS)
    real, small = (workload(path, f, timeout="10s", **{PAUSE: "1ms"}) for f in (fabric, scaled))
    for a, b in zip(real.ops, small.ops, strict=True):
        if isinstance(a, Transfer) and isinstance(b, Transfer):
            assert b.size == max(1, round(a.size / 2)) or a.size == 1
            assert b.at == pytest.approx(5 * a.at)
        if isinstance(a, Compute) and isinstance(b, Compute):
            assert b.seconds == pytest.approx(5 * a.seconds)
    assert small.timeout == pytest.approx(5 * real.timeout)


def test_clients_that_cannot_be_are_refused(tmp_path: Path) -> None:
    inside = expand(FabricSpec())
    path = trace(tmp_path, *ROWS)
    with pytest.raises(SpecError, match=r"workloads\.chat\.clients.*\n.*give the fabric a border"):
        workload(path, inside)
    with pytest.raises(SpecError, match="each named once"):
        workload(path, inside, clients=["h1", "h1"])
    with pytest.raises(SpecError, match=r"no clients of the same workload; found h2"):
        workload(path, inside, clients=["h1", "h2"], servers=["h2", "h3"])
    with pytest.raises(SpecError, match="the name of a host"):
        workload(path, inside, clients=["h99"])


def test_the_sample_has_a_silence_and_a_burst_and_is_above_scale(fabric: Fabric) -> None:
    requests = read(SAMPLE)
    assert len(requests) == 150
    assert requests[-1].arrival < 30
    assert not [r for r in requests if 9 <= r.arrival < 13]
    assert len([r for r in requests if 18 <= r.arrival < 19.5]) >= 40
    w = workload(SAMPLE, fabric, bytes_per_input_token=64, bytes_per_output_token=192)
    for answers in (False, True):
        sizes = [op.size for op in w.ops if isinstance(op, Transfer) and bool(op.reply) == answers]
        assert median(sizes) >= MIN_PACKETS * 1448


def test_the_workload_lowers_to_its_three_ops_a_request(fabric: Fabric) -> None:
    assert len(lower(workload(SAMPLE, fabric)).ops) == 450


# --- the traces of 2024 and 2025, and large ones --------------------------------------------------


@pytest.mark.parametrize("stamp", ["2024-05-10 00:00:01.500000+00:00", "2024-05-10T00:00:01.5Z",
                                   "2024-05-10 02:00:01.5+02:00", "2024-05-09 19:30:01.5-0430",
                                   "2024-05-10 00:00:01.500000000+00:00"])
def test_stamps_with_a_zone_are_read_as_the_moment_that_they_name(tmp_path: Path, stamp: str) -> None:
    path = trace(tmp_path, "2024-05-10 00:00:00+00:00,1,1", f"{stamp},2,2")
    assert [r.arrival for r in read(path)] == [0.0, 1.5]


@pytest.mark.parametrize("stamp", ["2024-05-10 24:00:00", "2024-05-10 00:61:00", "2024-05-10 00:00:01+25:00"])
def test_a_time_that_does_not_exist_is_refused(tmp_path: Path, stamp: str) -> None:
    with pytest.raises(TraceError, match="a time such as"):
        read(trace(tmp_path, f"{stamp},1,1"))


def test_stamps_with_and_without_a_zone_cannot_be_compared(tmp_path: Path) -> None:
    path = trace(tmp_path, "2024-05-10 00:00:00+00:00,1,1", "2024-05-10 00:00:01,1,1")
    with pytest.raises(TraceError, match=r"trace\.csv:3: expected stamps with a zone in all rows or in none"):
        read(path)


def test_columns_are_known_by_name_and_images_are_named_as_left_out(tmp_path: Path, fabric: Fabric) -> None:
    header = "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens"
    path = trace(tmp_path, "2024-10-15 00:00:00.5,3,1000,20", header=header)
    assert [(r.input_tokens, r.output_tokens) for r in read(path)] == [(1000, 20)]
    assert "NumImages" in workload(path, fabric).notes["images"]
    assert "images" not in workload(trace(tmp_path, *ROWS), fabric).notes


@pytest.mark.parametrize("header", ["TIMESTAMP,ContextTokens", "TIMESTAMP,ContextTokens,GeneratedTokens,Model",
                                    "TIMESTAMP,ContextTokens,ContextTokens,GeneratedTokens"])
def test_another_header_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(TraceError, match=r"trace\.csv:1: expected the header"):
        read(trace(tmp_path, *ROWS, header=header))


def test_a_byte_order_mark_before_the_header_is_none_of_it(tmp_path: Path) -> None:
    assert len(read(trace(tmp_path, *ROWS, header="\ufeff" + HEADER))) == 3


def test_a_packed_trace_is_named_as_one(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(b"x"))
    with pytest.raises(TraceError, match="a gzip file"):
        read(path)


@given(gaps=st.lists(st.integers(0, 3 * 10**7), min_size=1, max_size=2000), start=st.floats(0.0, 200.0),
       length=st.floats(0.1, 100.0))
def test_a_window_looked_up_by_time_is_that_of_the_whole_file(
        tmp_path_factory: pytest.TempPathFactory, gaps: list[int], start: float, length: float) -> None:
    ticks = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    first = datetime(2024, 1, 1)
    rows = [f"{first + timedelta(seconds=t // 10**7)}.{t % 10**7:07d},{i},1" for i, t in enumerate(ticks)]
    path = trace(tmp_path_factory.mktemp("azure"), *rows)

    def found() -> list[Request] | str:
        try:
            return read(path, (start, start + length))
        except TraceError as error:
            return str(error)

    whole = found()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(azure, "WHOLE", 0)
        assert found() == whole


def test_of_a_large_file_rows_of_the_window_out_of_order_are_refused(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trace(tmp_path, *ROWS, "2024-02-03 10:00:03,1,1")
    monkeypatch.setattr(azure, "WHOLE", 0)
    with pytest.raises(TraceError, match="earlier than the row before"):
        read(path)


def test_more_requests_than_memory_should_hold_ask_for_a_window(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure, "MAX_ROWS", 2)
    with pytest.raises(TraceError, match="choose a window of it"):
        read(trace(tmp_path, *ROWS))
    assert len(read(trace(tmp_path, *ROWS), (0.0, 1.0))) == 2
