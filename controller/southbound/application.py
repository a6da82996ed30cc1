"""A user's own os-ken application in place of our controller:

    python -m controller.southbound.application PATH                                       is it one? Says why not
    python -m controller.southbound.application PATH --inventory PATH --switches FD --ready FD      runs it on a lab

It finds the lab's inventory in AIFAB_INVENTORY. What it prints and logs is seen by who started the lab.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import ModuleType

from os_ken.base.app_manager import OSKenApp
from os_ken.ofproto import ofproto_v1_5

from controller.southbound import runtime
from topologies.access.process import die_with_parent
from topologies.model.errors import LabError
from topologies.model.inventory import Inventory

INVENTORY = "AIFAB_INVENTORY"
_STOP = (signal.SIGTERM, signal.SIGINT)
_HINT = "scenarios/examples/controllers has some to begin with"


def load(path: Path) -> list[type[OSKenApp]]:
    """The applications that a file defines, in the order of their names. Raises LabError where there is none."""
    found = [x for _, x in sorted(vars(_module(path)).items())
             if isinstance(x, type) and issubclass(x, OSKenApp) and x.__module__ == _name(path)]
    if not found:
        raise LabError(str(path), "a class of os_ken.base.app_manager.OSKenApp", "none", _HINT)
    for application in found:
        versions = getattr(application, "OFP_VERSIONS", None)       # None: any
        if versions is not None and ofproto_v1_5.OFP_VERSION not in versions:
            raise LabError(f"{path}: {application.__name__}.OFP_VERSIONS",
                           "OpenFlow 1.5, which all switches speak: [ofproto_v1_5.OFP_VERSION]", str(versions), _HINT)
    return found


def _name(path: Path) -> str:
    return f"application_{path.stem}"


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_name(path), path)
    if path.suffix != ".py" or not path.is_file() or spec is None or spec.loader is None:
        raise LabError(str(path), "a Python file with an os-ken application", "no such file", _HINT)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise LabError(f"{path}:{error.lineno}", "Python", error.msg) from None
    except Exception as error:      # whatever a user's file raises is the user's to read
        raise LabError(str(path), "a file that can be imported", f"{type(error).__name__}: {error}",
                       "a module beside it is not found: only aifab and installed packages are") from None
    return module


def serve(applications: list[type[OSKenApp]], inventory: Inventory, switches: socket.socket, ready: int) -> None:
    """Until a signal says stop. ready: a descriptor that gets a byte when all switches are connected."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)     # before any thread: sigwait below takes them
    expected = frozenset(s.dpid for s in inventory.fabric.switches)
    runtime.start_applications(applications, switches, expected, lambda: os.write(ready, b"."))
    signal.sigwait(_STOP)
    os._exit(0)     # os-ken's threads cannot be joined


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 after a stop, 1 for an error, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m controller.southbound.application",
                                     description="An os-ken application.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--inventory", type=Path, help="of a running lab; without it the file is checked")
    parser.add_argument("--switches", metavar="FD", type=int, help="a listening OpenFlow socket")
    parser.add_argument("--ready", metavar="FD", type=int, help="gets a byte when all switches are connected")
    chosen = parser.parse_args(arguments)
    die_with_parent()
    if chosen.inventory is not None and not sys.stdin.readline():
        return 0        # there will be no lab
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
    logging.getLogger("os_ken.base.app_manager").setLevel(logging.ERROR)
    try:
        if chosen.inventory is None:
            load(chosen.path)
            return 0
        os.environ[INVENTORY] = str(chosen.inventory)
        serve(load(chosen.path), Inventory.read(chosen.inventory), socket.socket(fileno=chosen.switches), chosen.ready)
    except LabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
