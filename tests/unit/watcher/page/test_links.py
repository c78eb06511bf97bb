# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.records import Service

from watcher.page import links

HOST = "imac.bob.members.example"


@pytest.mark.parametrize(
    ("kind", "port", "txt", "expected"),
    [
        ("_ssh._tcp", 22, (), "ssh://imac.bob.members.example"),
        ("_ssh._tcp", 2222, (), "ssh://imac.bob.members.example:2222"),
        ("_smb._tcp", 445, (), "smb://imac.bob.members.example/"),
        ("_rfb._tcp", 5901, (), "vnc://imac.bob.members.example:5901"),
        ("_http._tcp", 80, (), "http://imac.bob.members.example/"),
        ("_http._tcp", 8080, ("u=bob", "path=/wiki/a b?x=1"), "http://imac.bob.members.example:8080/wiki/a%20b?x=1"),
        # Nothing that another host writes leads to yet another one, or ends the address.
        ("_http._tcp", 80, ("path=//evil.example/",), "http://imac.bob.members.example/evil.example/"),
        ("_http._tcp", 80, ('path="><script>#',), "http://imac.bob.members.example/%22%3E%3Cscript%3E%23"),
        ("_https._tcp", 443, ("PATH=@evil.example",), "https://imac.bob.members.example/@evil.example"),
        ("_ipp._tcp", 631, (), None),
    ],
)
def test_addresses(kind: str, port: int, txt: tuple[str, ...], expected: str | None) -> None:
    assert links.url(HOST, Service(kind, port, txt)) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("iMac4,1", "all-in-one"),
        ("MacBookPro5,1", "laptop"),
        ("Macmini3,1", "small"),
        ("MacPro6,1", "tower"),
        ("RackMac", "server"),
        ("TimeCapsule8,119", "router"),
        ("<svg>", "computer"),
        (None, "computer"),
    ],
)
def test_pictures(model: str | None, expected: str) -> None:
    assert links.icon(model) == expected


def test_words() -> None:
    assert (links.label("_ssh._tcp"), links.label("_ipp._tcp")) == ("Terminal", "_ipp._tcp")
