"""How many examples Hypothesis draws of a property, and whether they are new ones.

The same ones each time, so that a change alone can make a test fail. AIFAB_EXAMPLES caps them, for a machine that is
very slow; AIFAB_RANDOM=FACTOR draws new ones, that many times more: to look for faults, when there is time.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

CAP = int(os.environ.get("AIFAB_EXAMPLES", "1000"))
RANDOM = int(os.environ.get("AIFAB_RANDOM", "0"))


def examples(count: int, **more: Any) -> settings:
    """So many, or as many as the cap allows. How long one takes is the machine's affair."""
    if RANDOM:
        return settings(max_examples=count * RANDOM, deadline=None, **more)
    return settings(max_examples=min(count, CAP), deadline=None, derandomize=True, database=None, **more)
