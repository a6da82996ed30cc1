"""The verdict: every invariant at, just inside of and beyond its limits; what is missing is not VALID."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scenarios.verdict.invariants.evidence import NAMES, Count, Fault, Late, Level, Phase, Sentinel
from scenarios.verdict.verdict import judge, sentinels
from tests.unit.evidence_factory import (
    BUSY,
    DIRECTIONS,
    RATE,
    SECONDS,
    at_share,
    calibration,
    counters,
    evidence,
    ledger,
    second,
    sentinel,
)
from tests.unit.records_of import records_of
from topologies.model.errors import LabError
from topologies.proof.calibrate import Calibration
from topologies.proof.findings import Finding
from traffic.runtime.counters import Counters
from traffic.runtime.reading import Records

VALID, SUSPECT, INVALID = Level.VALID, Level.SUSPECT, Level.INVALID


def check(number: int, level: Level, **changes: Any) -> str:
    """Judge; only this invariant may have this level; its first reason's text (its own, if it has none)."""
    verdict = judge(evidence(**changes))
    assert {c.number: c.level for c in verdict.checked if c.level} == ({number: level} if level else {})
    assert verdict.level == level
    return verdict.reasons[0].text if level else verdict.checked[number - 1].text


def test_a_flawless_run_is_valid_and_says_what_was_checked() -> None:
    verdict = judge(evidence())
    assert (verdict.level, verdict.exit_code, verdict.reasons) == (VALID, 0, ())
    assert {c.number: c.name for c in verdict.checked} == NAMES
    assert all(c.text for c in verdict.checked)


def test_all_seven_invariants_of_the_methods_are_in_the_output() -> None:
    said = judge(evidence()).as_json()["checked"]
    assert [c["number"] for c in said] == [1, 2, 3, 4, 5, 6, 7]
    assert [c["invariant"] for c in said] == ["calibration", "link", "no emulator loss", "headroom", "timers", "ledger",
                                              "lock"]


def test_exit_codes() -> None:
    assert judge(evidence(locked=False)).exit_code == 4
    assert judge(evidence(ledger=ledger(received=989))).exit_code == 3


def test_json_names_levels_and_has_no_nan() -> None:
    said = judge(evidence(sentinels=(), calibration=None)).as_json()
    text = json.dumps(said, allow_nan=False)
    assert json.loads(text)["verdict"] == "SUSPECT"
    assert {"invariant", "level", "text", "measured", "limit", "where", "when"} == set(said["reasons"][0])
    assert "nan" not in text


def test_the_worst_reasons_come_first() -> None:
    verdict = judge(evidence(locked=False, ledger=ledger(received=989)))
    assert [r.level for r in verdict.reasons] == sorted((r.level for r in verdict.reasons), reverse=True)
    assert verdict.level == INVALID


# 1 calibration ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("error", "level"), [(0.0299, VALID), (0.03, VALID), (-0.03, VALID), (0.0301, SUSPECT),
                                              (-0.06, SUSPECT), (0.0601, INVALID), (-0.5, INVALID)])
def test_a_wires_rate(error: float, level: Level) -> None:
    text = check(1, level, calibration=calibration(rate_error=error))
    assert not level or "h1->leaf1" in text


@pytest.mark.parametrize(("error", "level"), [(0.3e-3, VALID), (0.31e-3, SUSPECT), (-0.31e-3, SUSPECT),
                                              (0.6e-3, SUSPECT), (0.61e-3, INVALID), (float("inf"), INVALID)])
def test_a_round_trip(error: float, level: Level) -> None:
    check(1, level, calibration=calibration(rtt_error=error))


def test_a_long_round_trip_may_be_ten_percent_off() -> None:
    long = calibration()
    rtt = replace(long.rtts[0], expected=0.1, measured=0.11)
    check(1, VALID, calibration=replace(long, rtts=(rtt,)))
    check(1, SUSPECT, calibration=replace(long, rtts=(replace(rtt, measured=0.1101),)))


def test_a_wire_that_was_left_out_of_the_calibration() -> None:
    whole = calibration()
    text = check(1, SUSPECT, calibration=replace(whole, rates=whole.rates[1:]))
    assert "h1->leaf1" in text


def test_a_calibration_without_round_trips() -> None:
    assert "probe hosts" in check(1, SUSPECT, calibration=replace(calibration(), rtts=()))


@pytest.mark.parametrize(("found", "level"), [(9.99e6, SUSPECT), (9.4e6, SUSPECT), (9.3e6, INVALID), (None, INVALID)])
def test_a_rate_changed_behind_the_specs_back_is_never_valid(found: float | None, level: Level) -> None:
    text = check(1, level, audit=(Finding("leaf1->h3", "rate", "bit/s", RATE, found),))
    assert "leaf1->h3" in text


def test_a_setting_without_a_unit_is_reported_without_a_gap() -> None:
    text = check(1, Level.INVALID, audit=(Finding("switch leaf1", "nice value", "", 0.0, 10.0),))
    assert text == "the nice value of switch leaf1 is 10, which differs from the spec: 0"


def test_the_audit_counts_even_without_a_calibration() -> None:
    finding = Finding("leaf1->h3", "rate", "bit/s", RATE, None)
    assert check(1, INVALID, calibration=None, audit=(finding,))


# 3 no emulator loss -------------------------------------------------------------------------------
def test_one_packet_lost_by_the_emulator() -> None:
    text = check(3, INVALID, emulator={"leaf1's port sockets": Count(5, 6)})
    assert text == "leaf1's port sockets: 1 packet lost by the emulator; the limit is 0"


def test_what_an_emulator_counter_rose_by_inside_a_fault_is_the_faults() -> None:
    check(3, VALID, emulator={"leaf1": Count(5, 9, in_faults=4)})
    check(3, INVALID, emulator={"leaf1": Count(5, 9, in_faults=3)})


@pytest.mark.parametrize("after", [None, 4])
def test_a_counter_that_cannot_be_compared(after: int | None) -> None:
    check(3, SUSPECT, emulator={"leaf1": Count(5, after)})


@pytest.mark.parametrize("part", ["emulator_drops", "receive_errors"])
def test_losses_that_the_ledger_lays_at_the_emulators_door(part: str) -> None:
    accounting = ledger(**{part: {"h3": 2}}, received=988 if part == "emulator_drops" else 990)
    assert "h3: 2 packets" in check(3, INVALID, ledger=accounting)


def lost_sentinel(at: int) -> Sentinel:
    whole = sentinel()
    whole.delay[at] = np.nan
    return whole


def test_a_lost_sentinel_is_a_loss_of_the_emulator() -> None:
    text = check(3, INVALID, sentinels=(lost_sentinel(2500),))
    assert "sentinel probe1->probe2: 1 packet" in text
    assert "10.00 s" in text


def test_a_sentinel_lost_in_a_declared_fault_is_the_faults() -> None:
    check(3, VALID, sentinels=(lost_sentinel(2500),), faults=(Fault("cut", 9.9, 10.1),))
    check(3, VALID, sentinels=(lost_sentinel(2500),), faults=(Fault("cut", 10.05, 12.0),))     # it was on its way
    check(3, INVALID, sentinels=(lost_sentinel(2500),), faults=(Fault("cut", 11.0, 12.0),))


# 4 headroom ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("changes", "level"), [
    ({"idle": 0.15}, VALID), ({"idle": 0.149}, SUSPECT), ({"idle": 0.07}, SUSPECT), ({"idle": 0.069}, INVALID),
    ({"steal": 0.05}, VALID), ({"steal": 0.051}, SUSPECT), ({"steal": 0.10}, SUSPECT), ({"steal": 0.101}, INVALID),
    ({"runq": {"leaf1": 1 / 3}}, VALID), ({"runq": {"leaf1": 0.34}}, SUSPECT),
    ({"runq": {"leaf1": 2 / 3}}, SUSPECT), ({"runq": {"leaf1": 0.67}}, INVALID),
    ({"runq": {"engine": 0.15}}, VALID), ({"runq": {"engine": 0.151}}, SUSPECT),
    ({"runq": {"engine": 0.30}}, SUSPECT), ({"runq": {"engine": 0.301}}, INVALID),
    ({"nice": {"leaf1": 1}}, SUSPECT), ({"nice": {"spine1": 19}}, SUSPECT), ({"nice": {"leaf1": -5}}, VALID),
    ({"runq": {"controller": 0.9}}, VALID)])
def test_one_second_of_the_processors(changes: dict[str, Any], level: Level) -> None:
    check(4, level, counters=second(12, **changes))


def test_the_reason_names_switch_share_second_and_limit() -> None:
    text = check(4, SUSPECT, counters=second(12, runq={"leaf1": 0.46}))
    assert text == "leaf1's switch waited for the CPU 46 % of second 12; the limit is 33 %".replace(" %", "%")


@pytest.mark.parametrize(("p99", "level"), [(300e-6, VALID), (301e-6, SUSPECT), (600e-6, SUSPECT), (601e-6, INVALID)])
def test_a_fabrics_edge_that_runs_late_names_its_phase(p99: float, level: Level) -> None:
    late = Late("frames to and from hosts", "main", 1000, p99, 2e-3)
    text = check(4, level, late=(late,))
    if level == SUSPECT:
        assert text == (f"frames to and from hosts were {p99 * 1e6:.0f} us late (p99 of 1,000) in phase main; the "
                        "limit is 300 us")


def test_an_edge_that_did_nothing_is_not_judged() -> None:
    check(4, VALID, late=(Late("frames to and from hosts", "main", 0, 1.0, 1.0),))


@pytest.mark.parametrize(("doubt", "level"), [
    ({"leaf1": (0.05, 20.02)}, VALID), ({"leaf1": (1 / 3, 20.02)}, VALID), ({"leaf1": (0.34, 20.02)}, SUSPECT),
    ({"leaf1": (1.0, 20.02)}, SUSPECT), ({"engine": (0.05, 3.0)}, VALID), ({"engine": (0.16, 3.0)}, SUSPECT)])
def test_more_waiting_than_there_was_time_for_is_no_evidence(doubt: dict[str, Any], level: Level) -> None:
    check(4, level, counters=second(12, doubt=doubt))


def test_a_wait_that_cannot_be_is_named_with_what_can() -> None:
    text = check(4, SUSPECT, counters=second(12, doubt={"leaf1": (0.9, 20.02)}))
    assert text == ("the kernel counted 2002% of second 12 as time that leaf1's switch waited for the CPU, which "
                    "cannot be; 90% can, and the limit is 33%: not measured")


def test_a_starved_switch_is_found_beside_a_count_that_cannot_be() -> None:
    check(4, INVALID, counters=second(12, runq={"leaf1": 0.7}, doubt={"leaf1": (0.9, 20.02)}))


@pytest.mark.parametrize(("changes", "what"), [({"idle": 1.2}, "idle"), ({"idle": -0.5}, "idle"),
                                               ({"steal": 3.0}, "stolen"), ({"steal": -0.2}, "stolen")])
def test_shares_of_the_machine_that_cannot_be_are_not_measured(changes: dict[str, Any], what: str) -> None:
    text = check(4, SUSPECT, counters=second(12, **changes))
    assert what in text
    assert "which is impossible, so it was not measured" in text


def test_a_count_of_sent_bytes_that_went_backwards_is_not_measured() -> None:
    whole = counters()
    sent = whole.bytes.copy()
    sent[200:] -= sent[200]
    text = check(2, SUSPECT, counters=replace(whole, bytes=sent))
    assert text == "the count of bytes sent on leaf1->h3 went backwards at 10.00 s: not measured there"


def test_many_bad_seconds_are_one_reason_with_the_worst() -> None:
    whole = second(12, idle=0.03)
    cpu = (*whole.cpu[:12], whole.cpu[12], replace(whole.cpu[13], idle=0.12), *whole.cpu[14:])
    text = check(4, INVALID, counters=replace(whole, cpu=cpu))
    assert text == "the machine was idle 3.0% of second 12; the limit is 15% (and in 1 other second)"


def test_a_second_outside_of_phases_does_not_count() -> None:
    phases = (Phase("main", 0.0, 12.4), Phase("more", 13.0, 20.0))
    check(4, VALID, counters=second(12, idle=0.0), phases=phases)
    check(4, INVALID, counters=second(12, idle=0.0), phases=(Phase("main", 0.0, 12.6), phases[1]))


def test_a_phase_shorter_than_half_a_second_is_judged_by_what_touches_it() -> None:
    phases = (Phase("main", 0.0, 11.0), Phase("short", 12.3, 12.5))
    check(4, INVALID, counters=second(12, idle=0.0), phases=phases)


def test_a_switch_that_was_not_watched() -> None:
    whole = counters()
    cpu = tuple(replace(c, runq={"leaf1": 0.1, "engine": 0.01}) for c in whole.cpu)
    assert "spine1's switch" in check(4, SUSPECT, counters=replace(whole, cpu=cpu))


def test_a_switch_that_a_declared_fault_killed_need_not_be_seen() -> None:
    whole = counters()
    cpu = tuple(replace(c, runq={"leaf1": 0.1, "engine": 0.01}) if c.t > 10 else c for c in whole.cpu)
    killed = Fault("spine1 killed", 9.5, float(SECONDS), nodes=("spine1",))
    check(4, VALID, counters=replace(whole, cpu=cpu), faults=(killed,))


def test_an_engine_that_was_not_watched() -> None:
    verdict = judge(evidence(engines=("engine", "streams")))
    assert [r.text for r in verdict.reasons] == ["the process streams was not watched"]


def test_seconds_that_are_missing_from_a_phase() -> None:
    whole = counters()
    assert "13.0 s of the 20.0 s" in check(4, SUSPECT, counters=replace(whole, cpu=whole.cpu[:13]))


def test_no_cpu_lines_at_all() -> None:
    check(4, SUSPECT, counters=counters(cpu=()))


LIMIT = 2 * 1514 * 8 / RATE     # two full frames at 10 Mbit/s: 2.42 ms


@pytest.mark.parametrize(("delay", "level"), [(LIMIT, VALID), (LIMIT * 1.01, SUSPECT), (LIMIT * 2, SUSPECT),
                                              (LIMIT * 2.01, INVALID)])
def test_the_sentinels_p99(delay: float, level: Level) -> None:
    check(4, level, sentinels=(sentinel(delay),))


def test_on_fast_hosts_the_sentinel_may_take_a_millisecond() -> None:
    check(4, VALID, sentinels=(sentinel(1e-3),), host_rate=1e9)
    check(4, SUSPECT, sentinels=(sentinel(1.01e-3),), host_rate=1e9)


@pytest.mark.parametrize(("late", "level"), [(10, VALID), (11, INVALID)])
def test_a_burst_of_delay_shows_in_its_thousand_packets_not_in_the_whole_run(late: int, level: Level) -> None:
    """11 of 1,000 is more than 1 %; of the 5,000 of the run it is 0.2 %."""
    burst = sentinel()
    burst.delay[2500:2500 + late] = 1.0
    check(4, level, sentinels=(burst,))


def test_too_few_sentinels_in_the_phases_are_no_p99() -> None:
    assert "999 delays" in check(4, SUSPECT, sentinels=(sentinel(count=999),))
    check(4, VALID, sentinels=(sentinel(count=1000),))


def test_sentinels_with_few_packets_each_are_judged_together() -> None:
    few = sentinel(count=600)
    check(4, VALID, sentinels=(few, few))
    late = replace(few, delay=few.delay + 1.0)
    assert "p99" in check(4, INVALID, sentinels=(few, late))


def test_no_sentinel_and_one_whose_clock_was_set() -> None:
    assert "no sentinel" in check(4, SUSPECT, sentinels=())
    assert "the clock was set" in check(4, SUSPECT, sentinels=(replace(sentinel(), invalid="the clock was set"),))


# 5 timers -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("p50", "lateness", "level"), [
    (None, 1e-3, VALID), (None, 1.01e-3, SUSPECT), (None, 2e-3, SUSPECT), (None, 2.01e-3, INVALID),
    (2.0, 0.1, VALID), (2.0, 0.11, SUSPECT), (2.0, 0.2, SUSPECT), (2.0, 0.201, INVALID), (0.01, 1e-3, VALID)])
def test_the_engines_timer_lateness(p50: float | None, lateness: float, level: Level) -> None:
    check(5, level, headline_p50=p50, lateness_p99={"engine": lateness})


def test_slip_that_was_not_measured() -> None:
    assert "engine" in check(5, SUSPECT, lateness_p99={})
    assert "sender" in check(5, SUSPECT, timers=("engine", "sender"))
    check(5, VALID, lateness_p99={}, timers=())


def test_the_slip_of_a_process_that_nobody_asked_for_counts_too() -> None:
    check(5, SUSPECT, lateness_p99={"engine": 0.0, "sender": 0.2})


@pytest.mark.parametrize(("lag", "e2el", "level"), [
    (5e-3, 0.1, VALID), (5.1e-3, 0.1, SUSPECT), (0.02, 2.0, VALID), (0.021, 2.0, SUSPECT), (9.0, 2.0, SUSPECT)])
def test_requests_that_leave_late(lag: float, e2el: float, level: Level) -> None:
    reported = check(5, level, replay_lag={"chat": (lag, e2el)})
    assert level is VALID or "the requests of chat left" in reported


# 6 ledger -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("changes", [
    {"received": 989}, {"received": 991}, {"sent": 1001}, {"unexplained": {"leaf1 (switch)": 1}},
    {"unexplained": {"leaf1 (switch)": -1}}, {"balances": False}, {"balances": False, "in_queues": 3},
    {"received": 985, "fault_losses": {"never declared": 5}}])
def test_books_that_do_not_close(changes: dict[str, Any]) -> None:
    check(6, INVALID, ledger=ledger(**changes))


def test_named_losses_close_the_books() -> None:
    accounting = ledger(received=980, policy_drops={"leaf1 unknown-destination": 4}, fault_losses={"cut": 6})
    check(6, VALID, ledger=accounting, faults=(Fault("cut", 3.0, 4.0),))


def test_a_controller_that_ended_is_reported() -> None:
    assert "controller ended" in check(6, SUSPECT, controller_ended=True)


# 7 lock, and what is missing ----------------------------------------------------------------------
def test_a_run_without_the_lock() -> None:
    assert "--no-lock" in check(7, SUSPECT, locked=False)


@pytest.mark.parametrize(("missing", "number"), [
    ({"calibration": None}, 1), ({"calibration": Calibration((), (), full=True)}, 1), ({"audit": None}, 1),
    ({"emulator": None}, 3), ({"emulator": {}}, 3), ({"sentinels": ()}, 4), ({"phases": ()}, 4),
    ({"lateness_p99": {}}, 5), ({"ledger": None}, 6), ({"locked": None}, 7)])
def test_missing_evidence_is_suspect_with_a_reason_in_its_own_invariant(missing: dict[str, Any], number: int) -> None:
    found = {c.number: c.level for c in judge(evidence(**missing)).checked if c.level}
    assert found[number] == SUSPECT
    assert set(found.values()) == {SUSPECT}


def test_without_the_samplers_counters_neither_links_nor_headroom_are_believed() -> None:
    found = {c.number: c.level for c in judge(evidence(counters=None)).checked if c.level}
    assert found == {2: SUSPECT, 4: SUSPECT}


# reading ------------------------------------------------------------------------------------------
HEADER = {"kind": "header", "period": 0.05, "asked": 0.05, "scheduler": "fifo", "cores": 2, "directions": ["a->b"],
          "rates": [1e6], "queues": [10], "frames": [1514], "switches": ["b"], "watched": []}
WIRES = {"kind": "wires", "t": 0.5, "took": 0.001, "late": 0.0, "v": [[1, 2, 3, 4]]}
CPU = {"kind": "cpu", "t": 1.0, "seconds": 1.0, "idle": 0.5, "steal": 0.0, "softirq": 0.0, "runq": {"b": 0.1},
       "busy": {"b": 0.1}, "nice": {"b": 0}, "gone": [],
       "doubt": {"b": [0.05, 20.0]}}


def test_counters_are_read_up_to_a_line_that_was_cut_short(tmp_path: Any) -> None:
    path = tmp_path / "counters.jsonl"
    path.write_text("".join(json.dumps(x) + "\n" for x in (HEADER, WIRES, CPU)) + '{"kind":"wir')
    read = Counters.read(path)
    assert (read.directions, read.switches, read.t.tolist()) == (("a->b",), ("b",), [0.5])
    assert (read.bytes.tolist(), read.drops.tolist(), read.backlog.tolist()) == ([[1]], [[3]], [[4]])
    assert read.cpu[0].runq == {"b": 0.1}
    assert read.cpu[0].doubt == {"b": (0.05, 20.0)}


def test_counters_without_a_header_or_a_file_are_refused(tmp_path: Any) -> None:
    path = tmp_path / "counters.jsonl"
    with pytest.raises(LabError, match=r"counters\.jsonl"):
        Counters.read(path)
    path.write_text(json.dumps(WIRES) + "\n")
    with pytest.raises(LabError, match="header"):
        Counters.read(path)


def test_counters_of_a_header_alone_are_not_checked() -> None:
    found = {c.number: c.level for c in judge(evidence(counters=Counters.of([HEADER | {"switches": []}]))).checked}
    assert found[2] == found[4] == SUSPECT


def test_sentinels_are_found_among_the_records() -> None:
    stream = {"kind": "stream", "workload": "sentinel", "stream": "s1", "src": "probe1", "dst": "probe2",
              "latency_invalid": ""}
    packets = {"kind": "packets", "workload": "sentinel", "stream": "s1", "t": [0.1, 0.2], "delay": [0.001, None]}
    other = [{**stream, "workload": "udp"}, {**packets, "workload": "udp", "t": [9.0], "delay": [9.0]}]
    (found,) = sentinels(Records(records_of(*other, packets, stream, {"kind": "timer-lateness"})))
    assert (found.where, found.sent.tolist(), found.delay[0]) == ("probe1->probe2", [0.1, 0.2], 0.001)
    assert np.isnan(found.delay[1])


def test_the_busy_wire_of_the_factory_is_the_one_that_is_judged() -> None:
    assert DIRECTIONS[BUSY] in judge(evidence(counters=at_share(0.85, 5.0, 6.0))).reasons[0].text
