# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side of its identity, with the openssl of this machine."""

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import keyfiles, x509

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> keyfiles.KeyFiles:
    place = tmp_path / "swanctl"
    owner, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    return keyfiles.KeyFiles(
        place / "private/k.pem", place / "x509/c.pem", place / "x509ca/ca.pem", owner, group, 0o600
    )


def test_key_is_private_and_signs_its_request(files: keyfiles.KeyFiles) -> None:
    files.make_key()
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.key.parent.stat().st_mode) == 0o750
    assert "PRIVATE" not in files.request()
    first, second = (x509.spki(x509.load_request(files.request())) for _ in range(2))
    assert first == second


def test_a_key_of_the_other_type_is_not_the_one_that_is_wanted(files: keyfiles.KeyFiles) -> None:
    assert not files.has_key()
    files.make_key()
    rsa = dataclasses.replace(files, key_type="rsa")
    assert (files.has_key(), rsa.has_key()) == (True, False)
    rsa.make_key()
    assert (files.has_key(), rsa.has_key()) == (False, True)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    x509.load_request(rsa.request(), rsa=True)
    files.key.write_text("junk")
    with pytest.raises(keyfiles.KeyFileError, match="unusable"):
        rsa.has_key()


def test_certificates_are_public(files: keyfiles.KeyFiles) -> None:
    files.install(files.ca, "text\n")
    assert keyfiles.read(files.ca) == "text\n"
    assert stat.S_IMODE(files.ca.stat().st_mode) == 0o644
    assert stat.S_IMODE(files.ca.parent.stat().st_mode) == 0o755


def test_unreadable_key_says_how_to_mend(files: keyfiles.KeyFiles) -> None:
    files.make_key()
    files.key.write_text("junk")
    with pytest.raises(keyfiles.KeyFileError, match=r"k\.pem is unusable .*delete it"):
        files.request()


def test_missing_openssl(files: keyfiles.KeyFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(keyfiles.KeyFileError, match="install the package openssl"):
        files.make_key()
    assert not files.key.exists()


def test_unwritable_place(files: keyfiles.KeyFiles) -> None:
    files.ca.parent.parent.mkdir()
    files.ca.parent.write_text("a file in the way")
    with pytest.raises(keyfiles.KeyFileError, match="cannot be written"):
        files.install(files.ca, "text\n")


def test_foreign_bytes_are_no_certificate(files: keyfiles.KeyFiles) -> None:
    files.install(files.certificate, "x")
    files.certificate.write_bytes(b"\xff\xfe")
    assert keyfiles.read(files.certificate) == "not text\n"
    assert keyfiles.read(files.ca) == ""
