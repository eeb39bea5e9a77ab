"""Chromium without a window, driven by its DevTools protocol over a pair of pipes."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
"""Where it is, if it is installed: Debian's package is called `chromium`."""


class Browser:
    """A page of a browser.

    Parameters
    ----------
    send, receive
        Descriptors that the browser reads its commands from, and writes its answers to.
    """

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive, self._rest = send, receive, b""
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        told = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": told["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", page=True)

    def call(self, method: str, page: bool = False, **params: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer."""
        number = next(self._numbers)
        told = {"id": number, "method": method, "params": params}
        os.write(self._send, json.dumps(told | (self._session if page else {})).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, address: str, width: int, height: int) -> None:
        """Go to an address in a window of a size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", page=True, **size)
        # What the page before still has to say is no problem of this one.
        for place in ("about:blank", address):
            self.events.clear()
            self.call("Page.navigate", page=True, url=place)
            self.wait("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, waited for where it is a promise."""
        told = self.call(
            "Runtime.evaluate",
            page=True,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, expression: str, tries: int = 600) -> None:
        """Wait until an expression is true."""
        for _ in range(tries):
            if self.evaluate(expression):
                return
            time.sleep(0.1)
        raise AssertionError(f"{expression} never became true")

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        told = self.call("Page.captureScreenshot", page=True, format="png")
        path.write_bytes(base64.b64decode(told["data"]))

    def problems(self) -> list[str]:
        """Exceptions and messages of errors of the page since it was opened."""
        self.evaluate("0")
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            if event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        return found

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._receive, 1 << 20)
            assert part, "the browser is gone"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser that keeps what it has to in a folder; it ends with the block."""
    assert CHROMIUM is not None
    commands, answers = os.pipe(), os.pipe()
    words = [CHROMIUM, "--headless=new", "--no-sandbox", "--remote-debugging-pipe"]
    words += ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    words += ["--no-first-run", "--disable-background-networking", "--hide-scrollbars"]
    words += [f"--user-data-dir={folder / 'profile'}", "about:blank"]

    def pipes() -> None:
        # The browser reads descriptor 3 and writes descriptor 4.
        first, second = os.dup(commands[0]), os.dup(answers[1])
        os.dup2(first, 3)
        os.dup2(second, 4)

    keep = {"close_fds": False, "preexec_fn": pipes}
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **keep)
    os.close(commands[0])
    os.close(answers[1])
    try:
        yield Browser(commands[1], answers[0])
    finally:
        os.close(commands[1])
        process.terminate()
        process.wait(30)
        os.close(answers[0])
