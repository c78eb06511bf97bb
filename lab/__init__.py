# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal fleet: Debian hosts in containers, wired as a small internet of their own. Standard library only."""
