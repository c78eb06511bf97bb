# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m watcher` from a checkout, and the zipapp's entry."""

from __future__ import annotations

import sys

from watcher.cli import main

sys.exit(main())
