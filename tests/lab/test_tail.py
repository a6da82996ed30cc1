"""A link that is slowed down so that it differs from the spec: its counters alone tell that the slowest requests waited
there."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

from scenarios.report.answer import of_group
from tests.lab.run_process import aifab_run

pytestmark = pytest.mark.lab
SCENARIO = """
name: tail
question: What made the slowest requests slow?
fabric: {name: tail, leaves: 2, spines: 1, hosts_per_leaf: 2, host_rate: 10mbit}
workloads:
  chat: {kind: serving, clients: [h4], gateway: h1, replicas: [h2, h3], routing: round_robin, process: constant,
         rate: 16, requests: 110, variation: 0, input_tokens: 1500, output_tokens: 2, bytes_per_input_token: 8}
phases:
  - {name: sound, run: [chat]}
  - {name: slowed, run: [chat]}
events:
  - {phase: slowed, at: 2s, link: h3-leaf2, rate: 1mbit, hidden: true}
  - {phase: slowed, at: 4s, link: h3-leaf2, rate: 10mbit, hidden: true}
"""


def test_the_link_that_held_the_slowest_requests_up_is_named_and_not_in_a_sound_network(tmp_path: Path) -> None:
    with aifab_run(tmp_path, SCENARIO) as it:
        assert it.end() in {0, 3, 4}, it.text
        metrics = json.loads((it.directory / "metrics.json").read_text())
        sound, slowed = ({tag: m for tag, m in of_group(metrics, f"chat.{phase}").items() if tag.startswith("tail_")}
                         for phase in ("sound", "slowed"))
        assert {m["where"] for m in slowed.values() if "where" in m} == {"leaf2->h3"}
        assert slowed["tail_link"]["value"] > 0.3
        assert slowed["tail_only_path_share"]["value"] > 0.5
        assert "leaf2->h3" not in {m.get("where") for m in sound.values()}
        report = html.unescape((it.directory / "report.html").read_text())
        assert "in phase slowed: while the slowest tenth was on the network, packets waited at leaf2" in report
