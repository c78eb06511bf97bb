# SPDX-License-Identifier: GPL-3.0-or-later
"""Algorithms in an owner's own proposals that can be broken today, or that RFC 8247 and RFC 8221 say not to use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

# strongSwan's keywords. Of RFC 8247 section 2.4 groups of less than 2048 bits, of RFC 8221 sections 5 and 6 the rest.
_WEAK = re.compile(
    r"(?:ke[1-7]_)?(?:3?des|null|blowfish\d*|cast128|(?:prf)?md5(?:_128)?|(?:prf)?sha1?(?:_160)?|modp(?:768|1024|1024s160|1536))"
)


def found(proposals: Iterable[str]) -> list[str]:
    """Return the keywords of weak algorithms in proposals as strongSwan writes them, each once."""
    words = [word for proposal in proposals for word in proposal.lower().split("-")]
    return [word for word in dict.fromkeys(words) if _WEAK.fullmatch(word)]


def warning(options: Mapping[str, Any]) -> str:
    """Return what is weak in the proposals of such options as tunnel_config has, as a sentence; '' for nothing."""
    words = found([*(options.get("ike_proposals") or ()), *(options.get("esp_proposals") or ())])
    return f"{options['identity']}: {', '.join(words)} in its proposals can be broken today" if words else ""
