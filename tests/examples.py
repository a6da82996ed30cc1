"""How many examples Hypothesis draws of a property. AIFAB_EXAMPLES caps them, for a machine that is very slow."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

CAP = int(os.environ.get("AIFAB_EXAMPLES", "1000"))


def examples(count: int, **more: Any) -> settings:
    """So many, or as many as the cap allows. How long one takes is the machine's affair."""
    return settings(max_examples=min(count, CAP), deadline=None, **more)
