# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the watcher keeps what outlives its process, and how."""

from __future__ import annotations

from ansible_collections.btmm.fleet.plugins.module_utils.json_files import read, write

__all__ = ["read", "write"]
