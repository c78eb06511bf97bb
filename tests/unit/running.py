# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module's main() in this process, with Ansible's own argument handling."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args


def run_module(
    main: Callable[[], None], arguments: Mapping[str, Any], capsys: pytest.CaptureFixture[str], *, check: bool = False
) -> dict[str, Any]:
    """Return the module's result; a failed one has `failed`."""
    internal = {
        "_ansible_check_mode": check,
        "_ansible_diff": True,
        "_ansible_remote_tmp": tempfile.gettempdir(),
        "_ansible_keep_remote_files": False,
    }
    with patch_module_args({**arguments, **internal}), pytest.raises(SystemExit):
        main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return result
