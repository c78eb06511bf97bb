# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `btmm-sweep` of the zone host: forgets hosts whose lease ran out."""
