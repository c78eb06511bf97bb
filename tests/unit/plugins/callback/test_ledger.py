# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Changes
      ansible.builtin.file: {path: "{{ playbook_dir }}/made", state: directory}
      notify: Told
    - name: Changes nothing
      ansible.builtin.assert: {that: true}
  handlers:
    - name: Told
      ansible.builtin.debug:
      changed_when: true
"""


@pytest.mark.parametrize("check", [False, True])
def test_what_changed_is_written_down_without_the_handlers(tmp_path: Path, check: bool) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    ledger = tmp_path / "ledger"
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "BTMM_LEDGER": str(ledger)}
    command = [
        "ansible-playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
    ]
    command += ["--check"] if check else []
    done = subprocess.run(
        [*command, str(tmp_path / "play.yml")], env=environment, text=True, capture_output=True, check=True
    )
    assert json.loads(ledger.read_text()) == {
        "playbook": "play.yml",
        "check": check,
        "changed": [["localhost", "Changes"]],
    }
    assert "3 tasks; the slowest" in done.stdout
