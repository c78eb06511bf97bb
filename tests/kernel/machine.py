# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine with a Debian kernel of its own, which has the ESP that this machine's may lack.

It is emulated (QEMU's TCG), so it needs nothing of the hardware. User Mode Linux would be quicker, but Debian's has
nftables without any family: the guard could not be loaded.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import IO, Self

STOP_S = 20


class GuestError(AssertionError):
    """A command in there failed, or the kernel did; the message holds the whole output."""


class Machine:
    """The machine; `with` boots it and ends it.

    Args:
        kernel: the kernel to boot.
        root: image of the root file system, which stays as it is.
        log: file for what the kernel says.
    """

    def __init__(self, kernel: Path, root: Path, log: Path) -> None:
        self._log = log
        self._command = [
            *(
                "qemu-system-x86_64",
                "-accel",
                "tcg,tb-size=256",
                "-cpu",
                "max",
                "-m",
                "768",
                "-nodefaults",
                "-no-user-config",
            ),
            *("-display", "none", "-no-reboot", "-kernel", str(kernel)),
            *("-append", "root=/dev/nvme0n1 ro quiet panic=-1 console=ttyS0 init=/mnt/guest/init.sh"),
            # NVMe is what Debian's kernel can boot from without an initramfs.
            *(
                "-drive",
                f"file={root},if=none,id=root,format=raw,readonly=on",
                "-device",
                "nvme,drive=root,serial=root",
            ),
            *("-serial", f"file:{log}", "-serial", "stdio"),
        ]
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._receive()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._write(b"\n")
            self._process.wait(STOP_S)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def run(self, *command: str, stdin: str = "", timeout: float = 60) -> str:
        """Run a command and return its output, that of stderr included.

        Raises:
            GuestError: it failed, or took more than `timeout` seconds.
        """
        request = {"command": command, "input": stdin, "timeout": timeout}
        self._write(json.dumps(request).encode() + b"\n")
        answer = self._receive()
        if answer["code"] != 0:
            how = f"took more than {timeout} s" if answer["code"] is None else f"gave {answer['code']}"
            raise GuestError(f"{' '.join(command)} {how}\n{answer['output']}")
        return str(answer["output"])

    def send(self, folder: Path, target: str) -> None:
        """Copy what is in a folder into one of the machine's."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.add(folder, arcname=".")
        text = base64.b64encode(archive.getvalue()).decode()
        script = 'mkdir --parents "$1" && base64 --decode | tar --extract --gzip --no-same-owner --directory "$1"'
        self.run("sh", "-c", script, "send", target, stdin=text)

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, object]:
        answers: IO[bytes] | None = self._process.stdout
        assert answers is not None
        line = answers.readline()
        if not line:
            raise GuestError(f"the kernel ended\n{self._log.read_text(errors='replace')}")
        answer: dict[str, object] = json.loads(line)
        return answer
