# SPDX-License-Identifier: GPL-3.0-or-later
"""What a primary's error means for what is asked next."""

from __future__ import annotations

from pathlib import Path

import dns.message
import dns.name
import dns.rcode
import dns.tsig
import pytest

from notifier.errors import BadTransferError, UpstreamError
from notifier.upstream import Primary, Upstream
from tests.named import SECRET
from tests.notifier import ZONE

KEY = dns.tsig.Key(dns.name.from_text("imac", ZONE), SECRET, "hmac-sha256")


@pytest.mark.parametrize(
    ("kind", "code", "error"),
    [
        ("IXFR", dns.rcode.NOTIMP, BadTransferError),  # which has the whole zone asked for
        ("IXFR", dns.rcode.FORMERR, BadTransferError),
        ("IXFR", dns.rcode.REFUSED, UpstreamError),
        ("AXFR", dns.rcode.NOTIMP, UpstreamError),
        ("SOA", dns.rcode.FORMERR, UpstreamError),
    ],
)
def test_a_primary_that_knows_no_ixfr_is_asked_for_the_whole_zone(
    kind: str, code: dns.rcode.Rcode, error: type[UpstreamError]
) -> None:
    upstream = Upstream(Primary("zone.example", ("192.0.2.1",), 853, Path("ca.pem"), KEY))
    question = dns.message.make_query(ZONE, kind)
    question.use_tsig(KEY)
    question.to_wire()
    answer = dns.message.make_response(question)
    answer.set_rcode(code)
    with pytest.raises(UpstreamError) as caught:
        upstream._verified(answer.to_wire(), question, None)
    assert type(caught.value) is error
