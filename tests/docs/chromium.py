"""One headless Chromium for several pages, driven over its debugging pipe: no port, no driver, no library.

    python ──fd 3: {"id", "method", "params"} NUL──> chromium
           <──fd 4: answers and events, each with NUL──
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", "about:blank")
PATIENCE = 120.0        # seconds for one answer: the machine may be busy
LIVELY = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Network.requestWillBeSent")
Json = dict[str, Any]


class Browser:
    """A context manager. `events` are what the page said and fetched since it was opened."""

    def __init__(self, profile: Path) -> None:
        self.events: list[Json] = []
        self._number = 0
        self._left = b""
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        # the child's end of each pipe has to be 3 and 4 there; above 4 first, so that neither falls onto the other
        shell = f"exec 3<&{orders} 4>&{answers}; exec \"$0\" \"$@\""
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", shell, str(PROGRAM), f"--user-data-dir={profile}", *FLAGS],
            pass_fds=(orders, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(orders)
        os.close(answers)
        target = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(30)
        os.close(self._orders)
        os.close(self._answers)

    def call(self, method: str, **params: Any) -> Json:
        """A method of the page's. Raises RuntimeError with what Chromium says."""
        return self._call(method, session=self._session, **params)

    def open(self, page: Path, width: int, *, dark: bool = False, media: str = "screen") -> None:
        """Load a file at this width and colour scheme; returns when it stands."""
        self.events = []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", media=media, features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Page.navigate", url=page.as_uri())
        until = time.monotonic() + PATIENCE
        while self.run("document.readyState") != "complete" or self.run("location.href") != page.as_uri():
            if time.monotonic() > until:
                raise RuntimeError(f"{page} did not load")
            time.sleep(0.02)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def picture(self, *, whole: bool = False) -> bytes:
        """A PNG of what is seen, or of the whole page."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    def _call(self, method: str, session: str = "", **params: Any) -> Json:
        self._number += 1
        order: Json = {"id": self._number, "method": method, "params": params}
        if session:
            order["sessionId"] = session
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                found: Json = answer["result"]
                return found
            if answer.get("method") in LIVELY:
                self.events.append(answer)

    def _next(self) -> Json:
        while b"\0" not in self._left:
            if not select([self._answers], [], [], PATIENCE)[0]:
                raise RuntimeError("Chromium does not answer")
            part = os.read(self._answers, 1 << 16)
            if not part:
                raise RuntimeError("Chromium has ended")
            self._left += part
        line, _, self._left = self._left.partition(b"\0")
        found: Json = json.loads(line)
        return found
