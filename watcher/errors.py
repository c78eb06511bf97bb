# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in the watcher. Each error is one sentence: the cause and the fix."""

from __future__ import annotations


class WatcherError(Exception):
    """Base of every error that the watcher tells its user."""


class ConfigError(WatcherError):
    """A configuration file is missing or wrong; nothing works until it is repaired."""


class AlreadyRunningError(WatcherError):
    """Another daemon has this host; two would withdraw what the other publishes."""


class ListError(WatcherError):
    """The owner's list of revoked certificates can't be taken up."""


class PortMapError(WatcherError):
    """No outer address and port can be had from the gateway.

    `nat` is what the status says of the NAT; `retry_after_s` how long the gateway asked not to be asked again.
    """

    nat = "nat"

    def __init__(self, message: str, retry_after_s: float = 0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NoIpv4Error(PortMapError):
    """The host has no IPv4 way out, so there is nothing to map."""

    nat = "none"


class SilentGatewayError(PortMapError):
    """The gateway does not answer a protocol, or says that nothing listens there."""


class DoubleNatError(PortMapError):
    """Another NAT stands between the gateway and the Internet; a mapping would lead nowhere."""

    nat = "double-nat"


class CarrierNatError(PortMapError):
    """The provider's NAT (RFC 6598, RFC 6333) stands between the gateway and the Internet."""

    nat = "cgnat"


class ZoneServerError(WatcherError):
    """The zone server can't be reached or can't be trusted; worth another try later."""


class TunnelError(WatcherError):
    """A tunnel to a peer could not be opened."""


class NobodyError(TunnelError):
    """No host of the zone has the address."""


class LinkError(WatcherError):
    """The TUN or its resolver settings could not be made."""


class RelayError(WatcherError):
    """No relay can be reached, or it can't do what was asked for."""

    retryable = True
