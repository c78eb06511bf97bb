# SPDX-License-Identifier: GPL-3.0-or-later
"""PEM as openssl writes and reads it, and what is none."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import pem
from hypothesis import given
from hypothesis import strategies as st

from tests.certificates import Owner

if TYPE_CHECKING:
    from pathlib import Path


def openssl(*arguments: str, of: bytes) -> bytes:
    return subprocess.run(["openssl", *arguments], input=of, check=True, capture_output=True).stdout


def test_openssl_agrees(tmp_path: Path) -> None:
    """A certificate with the text that explains it before, and a list after it, as people keep them in one file."""
    owner = Owner(tmp_path)
    certificate, crl = owner.host().certificate.read_bytes(), owner.crl.read_bytes()
    both = openssl("x509", "-text", of=certificate) + crl
    for label, command, each in ((pem.CERTIFICATE, "x509", certificate), (pem.LIST, "crl", crl)):
        der = openssl(command, "-outform", "DER", of=each)
        assert pem.decode(label, both.decode()) == der
        assert pem.encode(label, der).encode() == openssl(command, "-inform", "DER", of=der)


@given(st.binary(max_size=200), st.sampled_from(["\n", "\r\n"]))
def test_any_octets_come_back(octets: bytes, end: str) -> None:
    assert pem.decode(pem.REQUEST, pem.encode(pem.REQUEST, octets).replace("\n", end)) == octets


WHOLE = pem.encode(pem.CERTIFICATE, b"some octets")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no CERTIFICATE in PEM"),
        ("nothing", "no CERTIFICATE in PEM"),
        (WHOLE.replace("CERTIFICATE", pem.LIST), "no CERTIFICATE in PEM"),
        (WHOLE.partition("-----END")[0], "no CERTIFICATE in PEM"),
        (WHOLE.replace("\n", "\nü", 1), "ASCII"),
        (WHOLE.replace("\n", "\n*", 1), "base64"),
        (WHOLE.replace("=", ""), "padding"),
    ],
    ids=["empty", "no PEM", "another label", "cut off", "no ASCII", "no base64", "octets missing"],
)
def test_what_is_none(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        pem.decode(pem.CERTIFICATE, text)
