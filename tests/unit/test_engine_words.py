"""The engine takes any words: each command is answered by one line, each wrong configuration ends with one sentence."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.fabricd.build import fabricd_program
from tests.fabricd.replays import Input, by_engine, fabric, made_frame

RIGHT = (
    "direction h1->leaf1 rate=1000000 delay=5 jitter=3 loss=0.1 ber=0.001 duplicate=0.5 reorder=0.5",
    "queue leaf1->h1 0 limit=3000 level=1 min=0.5 max=0.9 kmin=1 kmax=2 pmax=1 beside=0",
    "queue h1->leaf1 3 xoff=3000 xon=1000 headroom=9000", "cable h1-leaf1 down", "way leaf1->spine1 up",
    "power leaf2 off", "power leaf2 on", "dscp 46 queue=7", f"inject leaf1->h1 {made_frame(1, 2)[:60]}", "fresh",
    "show h1->leaf1", "rules leaf1", "groups spine1", "clear leaf2", "unrule leaf1 1",
    "vtep leaf1 10.0.0.9 02:00:00:00:00:09",
    "rule leaf1 9 table=0 priority=9 match in_port=1 do output:2;output:IN_PORT",
    f"packet-out leaf1 1 output:TABLE {made_frame(1, 2)[:120]}", f"trace leaf1 1 {made_frame(1, 2)[:120]}",
    "group leaf1 1 type=select hash=ipv4_src buckets 1:1:output:1 2:2:output:2", "ungroup leaf1 1",
    "neighbour leaf1 10.0.0.8 02:00:00:00:00:08", "switch s9", "subscribe *", "capture *", "option pool=64")
PIECES = ("", "->", "h1", "leaf1", "h1->leaf1", "0", "-1", "8", "1e9", "nan", "18446744073709551616", "rate=", "=5",
          "limit=99999999999999", "loss=2", "up", "*", "0x", "\t", "é", "%s%n", "a" * 300, "output:1;" * 70)


@st.composite
def commands(draw: st.DrawFn) -> str:
    """A right one with words that are changed, left out, doubled or put elsewhere; or any text."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text(st.characters(exclude_characters="\n\r\x00", exclude_categories=("Cs",)), max_size=60))
    words = draw(st.sampled_from(RIGHT)).split(" ")
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(words) - 1))
        words[at: at + draw(st.integers(0, 2))] = draw(st.lists(st.sampled_from(PIECES), max_size=2))
        words = words or [""]
    return " ".join(words)


@examples(100)
@given(st.lists(commands(), min_size=1, max_size=30))
def test_each_command_gets_one_answer(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> None:
    directory = tmp_path_factory.mktemp("words")
    frames = [Input(t * 1000, "h1", made_frame(1, 2)) for t in range(3)]
    answers = by_engine(directory, fabric(3), [*frames, *(Input(5000, "", each) for each in said)],
                        directory / "counters")
    assert sum(bool(re.match(r"\d+ answer (ok|error )", line)) for line in answers) == len(said)


@examples(100)
@given(line=commands(), at=st.integers(0, 12))
def test_a_configuration_is_taken_or_refused_with_its_line(tmp_path_factory: pytest.TempPathFactory, line: str,
                                                           at: int) -> None:
    directory = tmp_path_factory.mktemp("config")
    path = directory / "wrong.conf"
    lines = fabric(3)
    path.write_text("\n".join([*lines[:at], line, *lines[at:]]) + "\n")
    done = subprocess.run([fabricd_program(), "--replay", path, directory / "counters"], input="", text=True,
                          capture_output=True, check=False, timeout=60)
    assert done.returncode in (0, 2), done.stderr[:2000]
    if done.returncode == 2:
        assert re.fullmatch(rf"{re.escape(str(path))}(:\d+)?: [^\n]+\n", done.stderr), done.stderr
    else:
        assert done.stderr == ""


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    done = subprocess.run([fabricd_program(), "--replay", tmp_path / "none", tmp_path / "counters"], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"{tmp_path}/none: No such file or directory\n")
