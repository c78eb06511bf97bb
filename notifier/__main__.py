# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m notifier` from a checkout."""

from __future__ import annotations

import sys

from notifier.cli import main

sys.exit(main())
