# SPDX-License-Identifier: GPL-3.0-or-later
"""A real browser without a screen, driven by the Chrome DevTools Protocol over two pipes: no port, no other package."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE_S = 30.0
# By root there is no sandbox; without the others it looks for its maker's servers, which are not there.
_COMMAND = (
    "chromium-headless-shell",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Refused(AssertionError):
    """The browser could not do what it was asked to."""


class Browser:
    """One tab. What the page logs, and whatever it asks for, is kept."""

    def __init__(self, read: int, write: int, patience_s: float) -> None:
        self._read, self._write = read, write
        self._patience_s = patience_s
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._events: deque[dict[str, Any]] = deque()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Have the browser do something; an error of its is one here, too."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self._patience_s
        while True:
            told = self._receive(deadline)
            if told.get("id") == self._number:
                if "error" in told:
                    raise Refused(f"{method}: {told['error']}")
                result: dict[str, Any] = told["result"]
                return result

    def open(self, url: str) -> int:
        """Load a page; return its HTTP status."""
        self._events.clear()
        begun = self.call("Page.navigate", url=url)
        assert "errorText" not in begun, f"{url}: {begun['errorText']}"
        response = self._await("Network.responseReceived", loaderId=begun["loaderId"], type="Document")["response"]
        self.until("document.readyState === 'complete'", f"{url} is loaded")
        return int(response["status"])

    def value(self, expression: str) -> Any:
        """Return what a JavaScript expression gives."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Refused(f"{expression}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def until(self, expression: str, what: str) -> None:
        """Wait until an expression is true; a page that is only half there can't tell yet."""
        deadline = time.monotonic() + self._patience_s
        while True:
            with contextlib.suppress(Refused):
                if self.value(f"Boolean({expression})"):
                    return
            assert time.monotonic() < deadline, f"not within the time: {what}; {self.value('document.body.innerText')}"
            time.sleep(0.05)

    def until_complaint(self, text: str) -> None:
        """Wait until the browser complains of something in these words."""
        deadline = time.monotonic() + self._patience_s
        while not any(text in complaint for complaint in self.complaints):
            self._receive(deadline)

    def press(self, key: str) -> None:
        """Press and release a key of the keyboard."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def tree(self) -> list[tuple[str, str]]:
        """Return what a screen reader is given: role and name of each thing."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (str(node["role"]["value"]), str(node.get("name", {}).get("value", "")))
            for node in nodes
            if not node["ignored"] and "role" in node
        ]

    def picture(self, path: Path, width: int, height: int) -> None:
        """Save what the window shows as PNG."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _await(self, method: str, **parameters: object) -> dict[str, Any]:
        """Return what an event tells that has these parameters, and was or will be told."""
        deadline = time.monotonic() + self._patience_s
        while True:
            for event in self._events:
                if event["method"] == method and parameters.items() <= event["params"].items():
                    told: dict[str, Any] = event["params"]
                    return told
            self._receive(deadline)

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser is silent"
            octets = os.read(self._read, 1 << 20)
            assert octets, "the browser has ended"
            self._buffer += octets
        wire, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(wire)
        if "method" in told:
            self._note(told)
        return told

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        parameters = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            self.asked.append(parameters["request"]["url"])
        elif event["method"] == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))


@contextlib.contextmanager
def browsing(*options: str, prefix: Sequence[str] = (), patience_s: float = PATIENCE_S) -> Iterator[Browser]:
    """Start the browser, and end it with the block.

    Args:
        options: of Chromium, beside the usual.
        prefix: a command in front of it, such as `ip netns exec NAME`.
        patience_s: how long anything may take.
    """
    ours, theirs = os.pipe(), os.pipe()  # what we write, what it writes
    # It reads from descriptor 3 and writes to 4, which may be others' here.
    shell = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'
    with tempfile.TemporaryDirectory(prefix="btmm-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *prefix, *_COMMAND, f"--user-data-dir={profile}", *options],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        try:
            yield Browser(theirs[0], ours[1], patience_s)
        finally:
            os.close(ours[1])
            process.terminate()
            process.wait(PATIENCE_S)
            os.close(theirs[0])
