# SPDX-License-Identifier: GPL-3.0-or-later
"""What `btmm page` serves: the fleet as a page in the browser of this host's user, and of nobody else."""
