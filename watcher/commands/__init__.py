# SPDX-License-Identifier: GPL-3.0-or-later
"""The subcommands of `btmm` for people: each has `add_arguments(parser)` and `run(zones, given)`, its exit status."""
