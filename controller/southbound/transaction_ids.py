"""Requests to switches and the replies to them, by transaction id. No os-ken import."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from controller.southbound.connection import Datapath, Entry, Received, Request

_REPLY_MORE = 1     # OFPMPF_REPLY_MORE


class TransactionIds:
    """Matches (possibly multipart) replies to their requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # entries of any request: which type they have, the request knows
        self._waiting: dict[tuple[Datapath, int | None], tuple[Future[list[Any]], list[Any]]] = {}

    def ask(self, datapath: Datapath, request: Request[Entry]) -> Future[list[Entry]]:
        """Send a request. The future holds the entries of all parts of its reply; of a barrier, none."""
        future: Future[list[Entry]] = Future()
        message = request.message(datapath)
        datapath.set_xid(message)
        with self._lock:
            self._waiting[datapath, message.xid] = future, []
        datapath.send_msg(message)
        return future

    def receive(self, message: Received) -> None:
        """One reply, or a part of one. Replies that nobody waits for are ignored."""
        at = message.datapath, message.xid
        with self._lock:
            if at not in self._waiting:
                return
            future, entries = self._waiting[at]
            entries.extend(getattr(entry, "value", entry) for entry in getattr(message, "body", None) or ())
            if getattr(message, "flags", 0) & _REPLY_MORE:
                return
            del self._waiting[at]
        future.set_result(entries)

    def forget(self, datapath: Datapath) -> None:
        """A connection is gone: nobody will answer. Its futures are cancelled."""
        with self._lock:
            lost = [at for at in self._waiting if at[0] is datapath]
            futures = [self._waiting.pop(at)[0] for at in lost]
        for future in futures:
            future.cancel()
