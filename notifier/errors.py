# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in the notifier. Each error is one sentence: the cause and the fix."""

from __future__ import annotations


class NotifierError(Exception):
    """Base of every error that the notifier tells its user."""


class ConfigError(NotifierError):
    """A configuration file is missing or wrong; nothing works until it is repaired."""


class UpstreamError(NotifierError):
    """The primary can't be reached, can't be trusted, or does not give the zone."""


class BadTransferError(UpstreamError):
    """What the primary sent is no transfer of the zone, or does not fit what is held: only a whole zone mends that."""


class BadNotifyError(NotifierError):
    """A message at the port for NOTIFY is none that counts."""
