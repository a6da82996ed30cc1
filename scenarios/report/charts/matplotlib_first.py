"""Imported before matplotlib, which reads a file matplotlibrc of the working directory when it is imported.

A run's page shall look the same wherever it is written, and root shall not take settings (fonts, programs to call)
from whatever directory it is in.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

with contextlib.chdir(Path(__file__).parent):
    import matplotlib as mpl  # noqa: F401
