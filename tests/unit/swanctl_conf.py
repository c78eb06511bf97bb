# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what is written for strongSwan."""

from __future__ import annotations

from typing import Any


def parsed(text: str) -> dict[str, Any]:
    """Read swanctl.conf as far as our files go: sections, and one setting in a line."""
    root: dict[str, Any] = {}
    open_sections = [root]
    for line in text.splitlines():
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        if content == "}":
            open_sections.pop()
        elif content.endswith("{"):
            section: dict[str, Any] = {}
            open_sections[-1][content[:-1].strip()] = section
            open_sections.append(section)
        else:
            key, _, value = content.partition(" = ")
            open_sections[-1][key] = value
    assert open_sections == [root]
    return root
