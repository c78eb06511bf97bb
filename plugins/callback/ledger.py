# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell how long a run and its slowest tasks took; on request, write down what changed.

The written ledger is what the check-equals-converge law of the molecule scenarios compares.
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: ledger
type: aggregate
short_description: Time the tasks of a run and write down which of them changed which host
description:
  - Prints the wall time of the run and its slowest tasks at the end.
  - With O(path) set, also appends one JSON line per run, with C(playbook), C(check) and the C([host, task]) pairs that
    reported a change.
options:
  path:
    description: File that the line is appended to.
    type: path
    env:
      - name: BTMM_LEDGER
  slowest:
    description: How many tasks are shown.
    type: int
    default: 5
    env:
      - name: BTMM_LEDGER_SLOWEST
"""

import json
import time
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Collect start times and changes."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "btmm.fleet.ledger"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._started = time.monotonic()
        self._tasks: list[tuple[str, float]] = []
        self._changed: list[tuple[str, str]] = []
        self._playbook = ""

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Note which playbook runs."""
        self._playbook = Path(playbook._file_name).name  # noqa: SLF001 - Ansible gives callbacks no other way

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Note when a task began."""
        self._tasks.append((task.get_name(), time.monotonic()))

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Note when a handler began."""
        self._tasks.append((task.get_name(), time.monotonic()))

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a change; handlers are left out, since they only follow from tasks."""
        task = result.task
        if result.result.get("changed") and type(task).__name__ != "Handler":
            self._changed.append((result.host.get_name(), task.get_name()))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the times and write the ledger."""
        now = time.monotonic()
        ends = [start for _, start in self._tasks[1:]] + [now]
        spans = [(end - start, name) for (name, start), end in zip(self._tasks, ends, strict=True)]
        self._display.banner(f"TIME {now - self._started:.1f} s, {len(spans)} tasks; the slowest")
        for seconds, name in sorted(spans, reverse=True)[: self.get_option("slowest")]:
            self._display.display(f"{seconds:7.1f} s  {name}")
        path = self.get_option("path")
        if path:
            line = {
                "playbook": self._playbook,
                "check": bool(context.CLIARGS.get("check")),
                "changed": sorted(self._changed),
            }
            with Path(path).open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
