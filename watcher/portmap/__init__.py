# SPDX-License-Identifier: GPL-3.0-or-later
"""The outer address and port of this host's UDP 4500. Empty on purpose: the UPnP child imports nothing but its own."""
