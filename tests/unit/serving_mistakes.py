"""What loading says of a serving workload with something wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.spec.load_scenario import load_scenario
from topologies.model.errors import SpecErrors

SCENARIO = """name: wrong
question: What is wrong?
fabric: border
workloads:
  chat: {kind: serving, KEYS}
"""


def refusal(directory: Path, keys: str) -> str:
    """All errors of a scenario whose one workload has these keys; it has to be refused."""
    path = directory / "wrong.yml"
    path.write_text(SCENARIO.replace("KEYS", keys))
    with pytest.raises(SpecErrors) as error:
        load_scenario(str(path))
    return str(error.value)
