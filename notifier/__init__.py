# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon `btmm-notifier` of a zone host: tells subscribers of changes in the zone as they happen."""
