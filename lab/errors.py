# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab says when it cannot go on."""


class LabError(Exception):
    """One sentence for the user: what failed, why, and how to mend it."""
