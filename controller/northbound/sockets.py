"""Unix sockets of a lab's controller: at most one controller listens, and only its own user may connect."""

from __future__ import annotations

import socket
from pathlib import Path

from topologies.model.errors import LabError

BACKLOG = 128       # connections that wait to be taken: every switch of a large lab may


def claim(path: str) -> None:
    """Make room for a listening unix socket: remove a dead one. Raises LabError if it is in use."""
    if not Path(path).parent.is_dir():
        raise LabError(path, "a socket in the directory of a running lab", "no such directory")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        Path(path).unlink()
        return
    raise LabError(path, "a free socket", "another process that listens there",
                   "this lab has a controller already")


def listener(path: str) -> socket.socket:
    """A unix socket at the path that is ours alone and listens. Raises LabError if another one listens there."""
    claim(path)
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    Path(path).chmod(0o600)
    made.listen(BACKLOG)
    return made
