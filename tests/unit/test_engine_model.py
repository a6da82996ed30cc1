"""The engine against a model of its laws in plain Python, on drawn fabrics: the same frames at the same nanosecond, the
same drops by the same names, the same counts."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from hypothesis import given

from tests.examples import examples
from tests.fabricd.replays import Input, by_engine, by_model, cases
from topologies.switches.engine.counters import Counters


@examples(150)
@given(cases())
def test_the_engine_does_what_the_model_does(case: tuple[list[str], list[Input]]) -> None:
    config, inputs = case
    with tempfile.TemporaryDirectory() as directory:
        counters = Path(directory) / "counters"
        said = by_engine(Path(directory), config, inputs, counters)
        model = by_model(config, inputs)
        assert said == model.said
        found = Counters(counters)
        for d in model.directions:
            c = found.direction(d.number)
            assert (c.lost, c.bit_errors, c.cut, c.cut_flying, c.flying) == (
                d.lost, d.bit_errors, d.cut, d.cut_flying, 0), d.name
            for number, q in enumerate(d.queues):
                assert asdict(q.counts).items() <= found.queue(d.number, number)._asdict().items(), (d.name, number)
        found.close()
