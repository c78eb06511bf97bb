# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
from pathlib import Path

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import archive
from hypothesis import given
from hypothesis import strategies as st


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    secret = tmp_path / "keys" / "admin.key"
    secret.write_bytes(b"\x00secret")
    secret.chmod(0o640)
    (tmp_path / "link").symlink_to(secret)
    files = archive.read_tree(tmp_path)
    packed = archive.pack(files)
    assert archive.pack(dict(reversed(files.items()))) == packed
    assert archive.unpack(packed, [str(tmp_path)]) == files
    secret.unlink()
    secret.parent.rmdir()
    archive.install(files)
    assert archive.read_tree(tmp_path) == files
    assert archive.read_tree(tmp_path / "none") == {}


@pytest.mark.parametrize("name", ["etc/shadow", "../etc/shadow", "etc/bind/btmm/../../shadow", "etc/bind/btmmx"])
def test_nothing_is_unpacked_elsewhere(name: str) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(archive.BadArchive, match="no file of the zone"):
        archive.unpack(gzip.compress(plain.getvalue()), ["/etc/bind/btmm"])


def test_a_link_is_refused() -> None:
    plain, link = io.BytesIO(), tarfile.TarInfo("etc/bind/btmm/key")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(link)
    with pytest.raises(archive.BadArchive):
        archive.unpack(gzip.compress(plain.getvalue()), ["/etc/bind/btmm"])


@given(st.binary(max_size=200), st.booleans())
def test_noise_is_told(noise: bytes, compressed: bool) -> None:
    with contextlib.suppress(archive.BadArchive):
        archive.unpack(gzip.compress(noise) if compressed else noise, ["/etc/bind/btmm"])
