# SPDX-License-Identifier: GPL-3.0-or-later
"""The on-host daemon `btmm`: keeps one host reachable by name, and opens tunnels to its peers on demand."""
