# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets at rest: what was sealed opens with its passphrase and its context, and with nothing else."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import sealed
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

CHEAP = sealed.Cost(n=16, r=1, p=1)


@settings(max_examples=30)
@given(st.binary(), st.text(), st.text())
def test_round_trip(secret: bytes, passphrase: str, context: str) -> None:
    stored = sealed.seal(
        secret, passphrase.encode(errors="replace").decode(), context.encode(errors="replace").decode(), CHEAP
    )
    assert (
        sealed.unseal(stored, passphrase.encode(errors="replace").decode(), context.encode(errors="replace").decode())
        == secret
    )


def test_wrong_passphrase_context_and_content() -> None:
    stored = sealed.seal(b"secret", "right", "zone", CHEAP)
    for passphrase, context in (("wrong", "zone"), ("right", "other")):
        with pytest.raises(sealed.WrongPassphrase):
            sealed.unseal(stored, passphrase, context)
    fields = json.loads(stored)
    fields["box"] = fields["salt"]
    with pytest.raises(sealed.WrongPassphrase):
        sealed.unseal(json.dumps(fields).encode(), "right", "zone")


def test_a_stored_file_cannot_ask_for_all_memory() -> None:
    fields = json.loads(sealed.seal(b"secret", "right", "zone", CHEAP))
    fields["n"] = 2**30
    with pytest.raises(sealed.Damaged):
        sealed.unseal(json.dumps(fields).encode(), "right", "zone")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["kdf", "n", "r", "p", "salt", "nonce", "box"]), inner)
    ),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_noise_is_damaged(stored: bytes) -> None:
    with pytest.raises(sealed.Damaged):
        sealed.unseal(stored, "right", "zone")


def test_key_opens_with_its_passphrase_only_and_openssl_reads_it(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    stored = sealed.seal_key(key, "correct horse")
    assert sealed.unseal_key(stored, "correct horse").private_numbers() == key.private_numbers()
    for passphrase in ("wrong", ""):
        with pytest.raises(sealed.WrongPassphrase):
            sealed.unseal_key(stored, passphrase)
    (tmp_path / "ca.key").write_bytes(stored)
    done = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "ca.key", "-passin", "pass:correct horse", "-pubout"],
        capture_output=True, check=True,
    )  # fmt: skip
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert done.stdout == public


def test_an_open_key_is_refused() -> None:
    plain = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(sealed.Damaged):
        sealed.unseal_key(plain, "any")
