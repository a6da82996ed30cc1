"""Imported before Mininet, which asks distutils for one class: it shall come from the standard library.

Where setuptools is installed, its stand-in for distutils answers instead and imports all of setuptools for it: 0.2 s, a
third of what `aifab run` imports. Python 3.12 has no distutils of its own any more: there the stand-in has to do.
"""

from __future__ import annotations

import sys
import warnings

_stand_in = sys.modules.get("_distutils_hack")      # Python loads it as it starts, if setuptools is there

if sys.version_info < (3, 12) and _stand_in is not None and "distutils" not in sys.modules:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        _stand_in.remove_shim()
        try:
            import mininet.node  # noqa: F401
        finally:
            _stand_in.add_shim()
    # Mininet has what it wanted; whoever imports setuptools later shall find no other distutils there.
    for _name in [m for m in sys.modules if m.split(".", 1)[0] == "distutils"]:
        del sys.modules[_name]
