# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in the watcher. Each error is one sentence: the cause and the fix."""

from __future__ import annotations


class WatcherError(Exception):
    """Base of every error that the watcher tells its user."""


class ConfigError(WatcherError):
    """A configuration file is missing or wrong; nothing works until it is repaired."""


class AlreadyRunningError(WatcherError):
    """Another daemon has this host; two would withdraw what the other publishes."""


class PortMapError(WatcherError):
    """No outer address and port can be had from the gateway."""


class ZoneServerError(WatcherError):
    """The zone server can't be reached or can't be trusted; worth another try later."""


class TunnelError(WatcherError):
    """A tunnel to a peer could not be opened."""


class LinkError(WatcherError):
    """The TUN or its resolver settings could not be made."""


class RelayError(WatcherError):
    """No relay can be reached, or it can't do what was asked for."""

    retryable = True
