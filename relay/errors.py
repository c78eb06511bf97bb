# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in the relay."""

from __future__ import annotations


class RelayError(Exception):
    """Something that the relay can't do; one sentence, for the log or for the host that asked."""
