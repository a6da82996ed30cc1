"""The link invariant: windows, their slack, their limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scenarios.verdict.invariants.evidence import Fault, Level
from scenarios.verdict.invariants.link import check, windows
from tests.unit.evidence_factory import (
    BUSY,
    DEEP,
    DIRECTIONS,
    FRAME,
    PERIOD,
    RATE,
    SECONDS,
    at_share,
    counters,
    evidence,
)
from traffic.runtime.counters import Counters

VALID, SUSPECT, INVALID = Level.VALID, Level.SUSPECT, Level.INVALID
SLACK = (2 * FRAME + RATE / 8 * 0.001) / (RATE / 8 * 0.25)      # of a 250 ms window of the factory


def level(samples: Counters, *faults: Fault) -> Level:
    return check(evidence(counters=samples, faults=faults)).level


def test_windows_are_disjoint_and_250_ms_of_the_samples_own_time() -> None:
    found, unusable = windows(counters(), ())
    assert (len(found), unusable) == (SECONDS * 4, 0)
    assert all(w.end - w.start == pytest.approx(0.25) for w in found)
    assert all(w.ratio == pytest.approx(1, abs=1e-5) and w.slack == pytest.approx(SLACK) for w in found)


def test_an_empty_queue_in_any_sample_leaves_the_window_out() -> None:
    backlog = counters().backlog.copy()
    backlog[::5, BUSY] = 0      # every fifth sample: never 250 ms in a row
    found, _ = windows(counters(backlog=backlog), ())
    assert found == []
    assert "no queue held packets" in check(evidence(counters=counters(backlog=backlog))).text


@pytest.mark.parametrize(("share", "expected"), [
    (0.97 - SLACK + 0.001, VALID), (0.97 - SLACK - 0.001, INVALID),
    (1.02 + SLACK - 0.001, VALID), (1.02 + SLACK + 0.001, INVALID)])
def test_a_wire_at_another_rate_all_the_time_is_invalid_beyond_the_slack(share: float, expected: Level) -> None:
    assert level(at_share(share, -1, SECONDS + 1)) == expected


@pytest.mark.parametrize(("share", "expected"), [
    (0.90 - SLACK - 0.002, SUSPECT), (0.80 - SLACK + 0.002, SUSPECT), (0.80 - SLACK - 0.002, INVALID)])
def test_one_low_window_in_a_run(share: float, expected: Level) -> None:
    """One window of 80 is more than 1 %, but a single one is INVALID only under 80 %."""
    samples = at_share(share, 5.0, 5.25)
    assert level(samples) == expected
    assert "5.00 s" in check(evidence(counters=samples)).reasons[-1].text


def long_run(bad: int, per: int = 1) -> Counters:
    """200 s: 800 windows, `bad` of them 96 % less the slack."""
    t = np.arange(4001) * PERIOD
    rate = np.full(4001, RATE / 8 * PERIOD)
    for k in range(bad):
        at = 1 + 5 * per * k
        rate[at:at + 5] *= 0.96 - SLACK
    sent = np.zeros((4001, 3), np.int64)
    sent[:, BUSY] = np.round(np.cumsum(rate))
    backlog = np.zeros_like(sent)
    backlog[:, BUSY] = DEEP
    return replace(counters(), t=t, took=np.full(4001, 0.001), late=np.zeros(4001), bytes=sent, backlog=backlog,
                   drops=np.zeros_like(sent))


@pytest.mark.parametrize(("bad", "expected"), [(0, VALID), (8, VALID), (9, SUSPECT), (16, SUSPECT), (17, INVALID)])
def test_one_percent_of_windows_may_be_outside_and_two_is_the_end(bad: int, expected: Level) -> None:
    assert level(long_run(bad)) == expected


def test_a_wrong_wire_does_not_vanish_among_many() -> None:
    """20 directions always busy, one at 95 % in 2 of its 80 windows: 0.1 % of all, 2.5 % of its own."""
    base = counters()
    n = 20
    sent = np.repeat(base.bytes[:, BUSY:BUSY + 1], n, axis=1)
    sent[:, 0] = at_share(0.95, 5.0, 5.5).bytes[:, BUSY]
    samples = replace(base, directions=tuple(f"a{i}->b" for i in range(n)), rates=np.full(n, RATE),
                      frames=np.full(n, float(FRAME)), bytes=sent, backlog=np.full_like(sent, DEEP),
                      drops=np.zeros_like(sent))
    found = check(evidence(counters=samples))
    assert found.level == SUSPECT
    assert [r.where for r in found.reasons] == ["a0->b"]


def test_slow_links_get_windows_of_200_frames() -> None:
    slow = counters(rates=np.full(3, 2.5e6), bytes=counters().bytes // 4)
    found, _ = windows(slow, ())
    assert all(w.end - w.start == pytest.approx(0.95) for w in found)    # 0.969 s, at the nearest sample
    assert check(evidence(counters=slow)).level == VALID


@pytest.mark.parametrize("phase", [0, 1, 700, 1513])
def test_a_counter_that_moves_by_whole_frames_is_no_fault_of_the_wire(phase: int) -> None:
    for rate in (1.25e6, 2.5e6, 10e6):
        exact = rate / 8 * counters().t + phase
        sent = counters().bytes.copy()
        sent[:, BUSY] = (exact // FRAME * FRAME).astype(np.int64)
        assert level(counters(rates=np.full(3, rate), bytes=sent)) == VALID


def test_late_samples_set_windows_aside_and_too_many_make_the_check_suspect() -> None:
    late = np.zeros(len(counters().t))
    late[52:72:5] = 0.06     # four windows
    found, unusable = windows(counters(late=late), ())
    assert (len(found), unusable) == (76, 4)
    assert level(counters(late=late)) == VALID
    late[52:102:5] = 0.06    # ten of eighty
    result = check(evidence(counters=counters(late=late)))
    assert result.level == SUSPECT
    assert "10 of 80 windows" in result.reasons[0].text


def test_a_hole_in_the_samples_sets_its_window_aside() -> None:
    whole = counters()
    keep = np.ones(len(whole.t), bool)
    keep[101:104] = False
    holed = replace(whole, **{k: getattr(whole, k)[keep] for k in ("t", "took", "late", "bytes", "drops", "backlog")})
    assert windows(holed, ())[1] == 1


def test_a_reading_that_took_too_long_says_nothing() -> None:
    took = np.full(len(counters().t), 0.001)
    took[50] = 0.02
    assert windows(counters(took=took), ())[1] == 2     # it ends one window and begins the next


def test_times_are_the_samples_own() -> None:
    """A sampler that is off its schedule, by less than a period, still measures the rate."""
    t = counters().t + np.random.default_rng(1).uniform(0, 0.04, len(counters().t))
    sent = counters().bytes.copy()
    sent[:, BUSY] = np.round(RATE / 8 * t)
    assert level(counters(t=t, bytes=sent)) == VALID


def test_windows_in_a_declared_event_of_the_link_are_left_out() -> None:
    stalled = at_share(0.0, 5.0, 6.0)
    assert level(stalled) == INVALID
    assert level(stalled, Fault("cut", 4.9, 6.1, directions=(DIRECTIONS[BUSY],))) == VALID
    assert level(stalled, Fault("cut elsewhere", 4.9, 6.1, directions=(DIRECTIONS[0],))) == INVALID


def test_a_declared_change_of_the_rate_holds_from_then_on() -> None:
    halved = at_share(0.5, 10.0, SECONDS + 1)
    assert level(halved, Fault("slower", 10.0, 10.0, directions=(DIRECTIONS[BUSY],), rate=RATE / 2)) == VALID
    assert level(counters(), Fault("slower", 10.0, 10.0, directions=(DIRECTIONS[BUSY],), rate=RATE / 2)) == INVALID


def test_windows_after_a_change_have_the_length_of_the_new_rate() -> None:
    """A tenth of the rate: 200 frames take ten times as long, and a window never spans the change."""
    slower = Fault("slower", 10.0, 10.01, directions=(DIRECTIONS[BUSY],), rate=RATE / 10)
    found, _ = windows(at_share(0.1, 10.0, SECONDS + 1), (slower,))
    after = [w for w in found if w.start > 10.0]
    assert after
    assert all(w.end - w.start == pytest.approx(200 * FRAME * 8 / (RATE / 10), abs=2 * PERIOD) for w in after)
    assert all(w.ratio == pytest.approx(1, abs=0.01) for w in found)
    assert max(w.end for w in found if w.start < 10.0) < 10.0 + PERIOD


def test_a_phase_that_was_not_sampled_to_its_end() -> None:
    whole = counters()
    short = replace(whole, **{k: getattr(whole, k)[:200] for k in ("t", "took", "late", "bytes", "drops", "backlog")})
    result = check(evidence(counters=short))
    assert result.level == SUSPECT
    assert "phase main" in result.reasons[0].text


def in_short_runs(share: float, waiting: int) -> Counters:
    """A wire at `share` of its rate whose queue is found empty once a second, else with `waiting` bytes."""
    samples = at_share(share, -1, SECONDS + 1)
    backlog = samples.backlog.copy()
    backlog[:, BUSY] = waiting
    backlog[::20, BUSY] = 0
    return replace(samples, backlog=backlog)


def test_a_queue_that_is_often_found_empty_may_have_been_empty_in_between() -> None:
    assert level(in_short_runs(0.6, waiting=3028)) == VALID


def test_what_waited_and_had_the_time_to_go_must_have_gone() -> None:
    samples = in_short_runs(0.6, waiting=60_000)
    assert level(samples) == INVALID


def test_a_queue_that_is_always_found_busy_proves_a_slow_wire_however_little_waits() -> None:
    samples = at_share(0.6, -1, SECONDS + 1)
    backlog = samples.backlog.copy()
    backlog[:, BUSY] = 3028
    assert level(replace(samples, backlog=backlog)) == INVALID


def dipping(share: float, every: int, waiting: int = 3028) -> Counters:
    """`waiting` bytes at every sample; every so many seconds the wire sends a quarter of a second at `share`."""
    whole = counters()
    rate = np.where((whole.t % every > 0.01) & (whole.t % every <= 0.26), share, 1.0) * RATE / 8 * PERIOD
    sent, backlog = whole.bytes.copy(), whole.backlog.copy()
    sent[:, BUSY], backlog[:, BUSY] = np.round(np.cumsum(rate)), waiting
    return replace(whole, bytes=sent, backlog=backlog)


def test_a_little_that_waits_at_every_sample_is_no_proof_where_it_may_be_chance() -> None:
    """As two flows left it that keep a queue at two frames: 2.6 % of the time it was empty, and no sample saw it."""
    few = dipping(0.87, every=1)
    short = {k: getattr(few, k)[:52] for k in ("t", "took", "late", "bytes", "drops", "backlog")}
    (window, *_), _ = windows(replace(few, **short), ())
    assert window.ratio > 0.97      # those below are not among them
    assert level(replace(few, **short)) != INVALID
    assert level(dipping(0.5, every=1)) == INVALID      # an eighth of the time, in 401 samples: no accident
    assert level(dipping(0.87, every=5)) == VALID
    assert level(dipping(0.87, every=5, waiting=DEEP)) > VALID


def test_slow_readings_get_longer_windows() -> None:
    slow = counters(took=np.full(len(counters().t), 0.0029))
    found, unusable = windows(slow, ())
    assert unusable == 0
    assert {round(w.end - w.start, 2) for w in found} == {0.3}
