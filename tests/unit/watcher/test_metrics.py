# SPDX-License-Identifier: GPL-3.0-or-later
"""The status in Prometheus' text format."""

from __future__ import annotations

from watcher import metrics

STATUS = {
    "published": {"time": "2026-11-21T08:00:00+00:00"},
    "error": None,
    "updates": 3,
    "lease_expires": "2026-11-21T10:00:00+00:00",
    "started": "1970-01-01T00:01:00+00:00",
    "changed": "never",
    "peers": [{"name": 'a"b\\c\nd', "rung": "direct"}],
    "rung": "direct",
}


def test_a_host_as_it_is() -> None:
    lines = metrics.text({"bob.members.example": STATUS}).splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    zone = 'zone="bob.members.example"'
    assert values == {
        f"btmm_up{{{zone}}}": "1",
        f"btmm_published{{{zone}}}": "1",
        f"btmm_error{{{zone}}}": "0",
        f'btmm_rung{{{zone},rung="direct"}}': "1",
        f"btmm_names_last_known{{{zone}}}": "0",
        # Backslash, quote and line feed are escaped, as the format's description says.
        f'btmm_peer{{{zone},peer="a\\"b\\\\c\\nd",rung="direct"}}': "1",
        f"btmm_peers{{{zone}}}": "1",
        f"btmm_lease_expires_timestamp_seconds{{{zone}}}": "1795255200",
        f"btmm_updates_total{{{zone}}}": "3",
        f"btmm_start_timestamp_seconds{{{zone}}}": "60",
    }


def test_each_family_is_described_once_and_stands_together() -> None:
    lines = metrics.text({"a.example": STATUS, "b.example": None}).splitlines()
    assert lines[:4] == [
        "# HELP btmm_up Whether the daemon runs.",
        "# TYPE btmm_up gauge",
        'btmm_up{zone="a.example"} 1',
        'btmm_up{zone="b.example"} 0',
    ]
    assert "# TYPE btmm_updates_total counter" in lines
    described = [line for line in lines if line.startswith("# TYPE")]
    assert len(described) == len(set(described))
