# SPDX-License-Identifier: GPL-3.0-or-later
"""How a user of the zone gets tickets: his key and certificate, the realms of the hosts, MIT krb5's own client."""

from __future__ import annotations


class SignOnError(Exception):
    """There is no key, no certificate or no ticket: one sentence with cause and fix."""


class NotEnrolledError(SignOnError):
    """The user has no certificate, so there is nothing wrong if he gets no ticket."""


class UntimelyError(SignOnError):
    """The certificate is not valid now, or this host's clock is wrong."""
