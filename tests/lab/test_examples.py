"""The examples are what a user copies: they run as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.examples import allreduce, ping

pytestmark = pytest.mark.lab


def test_the_ping_example_crosses_the_fabric_without_loss() -> None:
    assert "3 packets transmitted, 3 received, 0% packet loss" in ping.main()


def test_the_allreduce_example_reports_a_bus_bandwidth_below_its_limit(tmp_path: Path) -> None:
    result = allreduce.main(tmp_path)
    assert 0 < result.metrics["ring.busbw"].value < 10e6
    assert result.ledger.balances
    assert result.run.report_path.stat().st_size > 10_000
