"""Units are never implied, and never mistaken for one another."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.model.units import parse_rate, parse_size, parse_time, show_count, show_rate, show_size, show_time


@pytest.mark.parametrize(("text", "rate"), [
    ("20mbit", 20e6), ("20 Mbit/s", 20e6), ("20Mb/s", 20e6), ("20Mbps", 20e6), ("400Gb/s", 400e9), ("1.5tbit", 1.5e12),
    ("10kbit", 10e3), (" 7bit ", 7.0), ("1e3kbit", 1e6), (".5gbit", 5e8), ("20MBIT", 20e6),
])
def test_rates_in_the_spellings_of_the_trade(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", [
    "20", "mbit", "20MB", "20MB/s", "20MBps", "20 kB/s", "20ms", "", "1,5mbit", "0x10mbit"])
def test_what_is_no_rate_is_refused_and_an_example_is_given(text: str) -> None:
    with pytest.raises(ValueError, match="such as 20mbit"):
        parse_rate(text)


@pytest.mark.parametrize("value", [20, 20.0, None, True, ["20mbit"]])
def test_a_bare_number_has_no_unit(value: object) -> None:
    for parse in (parse_rate, parse_size, parse_time):
        with pytest.raises(ValueError, match="a number with a unit"):
            parse(value)


@pytest.mark.parametrize("text", ["0mbit", "-20mbit", "-0mbit"])
def test_a_rate_is_above_zero(text: str) -> None:
    with pytest.raises(ValueError, match="a rate above zero"):
        parse_rate(text)


@pytest.mark.parametrize(("text", "size"), [("60kB", 60_000), ("64KiB", 65_536), ("1.5MB", 1_500_000), ("0B", 0),
                                            ("2GiB", 2**31), ("1TB", 10**12)])
def test_sizes_are_whole_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert isinstance(parse_size(text), int)


@pytest.mark.parametrize("text", ["60kb", "60kbit", "60KB", "-1kB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 60kB"):
        parse_size(text)


@pytest.mark.parametrize(("text", "time"), [("5ms", 5e-3), ("2s", 2.0), ("3us", 3e-6), ("3µs", 3e-6), ("1min", 60.0),
                                            ("1h", 3600.0), ("100ns", 1e-7)])
def test_times_are_seconds(text: str, time: float) -> None:
    assert parse_time(text) == pytest.approx(time, rel=1e-12)


@pytest.mark.parametrize("text", ["1e999mbit", "1e400s", "1e300B"])
def test_numbers_beyond_any_network_are_refused(text: str) -> None:
    for parse in (parse_rate, parse_size, parse_time):
        with pytest.raises(ValueError, match="a number below"):
            parse(text)


@pytest.mark.parametrize(("rate", "text"), [(20e6, "20 Mbit/s"), (2.5e6, "2.5 Mbit/s"), (10e3, "10 kbit/s"),
                                            (400e9, "400 Gbit/s"), (7.0, "7 bit/s"), (1.5e12, "1.5 Tbit/s")])
def test_rates_are_shown_as_they_are_spoken(rate: float, text: str) -> None:
    assert show_rate(rate) == text


def test_sizes_and_times_are_shown_in_the_fitting_unit() -> None:
    assert [show_size(s) for s in (0, 20, 60_000, 8e6)] == ["0 B", "20 B", "60 kB", "8 MB"]
    assert [show_time(t) for t in (0.0, 1e-7, 5e-3, 90.0)] == ["0 s", "100 ns", "5 ms", "90 s"]
    assert [show_count(n, "pair") for n in (0, 1, 2)] == ["0 pairs", "1 pair", "2 pairs"]


@given(st.floats(min_value=1e-3, max_value=1e14))
def test_a_shown_rate_reads_back_within_its_digits(rate: float) -> None:
    assert parse_rate(show_rate(rate)) == pytest.approx(rate, rel=1e-3)


@given(st.text(alphabet="0123456789.eE+-kMGTiBbits/psun ", max_size=9))
def test_any_text_is_a_number_that_is_not_negative_or_a_value_error(text: str) -> None:
    for parse in (parse_rate, parse_size, parse_time):
        with suppress(ValueError):
            assert 0 <= parse(text) < float("inf")
