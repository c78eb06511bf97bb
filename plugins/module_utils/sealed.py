# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets at rest under the owner's passphrase: scrypt (RFC 7914) everywhere, so that guessing is dear."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from pyasn1.codec.der import encoder
from pyasn1.type.univ import ObjectIdentifier, OctetString
from pyasn1_modules import rfc5208, rfc7914, rfc8018

from . import pem

AES256_CBC = ObjectIdentifier("2.16.840.1.101.3.4.1.42")


class WrongPassphrase(ValueError):
    """The passphrase does not open the secret, or the secret was changed."""


class Damaged(ValueError):
    """The stored secret is not of the form that this library writes."""


@dataclass(frozen=True, slots=True)
class Cost:
    """scrypt's work: memory is 128 * n * r octets (16 MiB), time about 0.1 s; paid once per run and secret."""

    # OpenSSL refuses n = 2**15 (its limit is 32 MiB in all), and ``openssl pkey`` shall be able to read ca.key.
    n: int = 2**14
    r: int = 8
    p: int = 3

    def derive(self, passphrase: str, salt: bytes) -> bytes:
        """Return the 256-bit key for ``passphrase``."""
        return Scrypt(salt=salt, length=32, n=self.n, r=self.r, p=self.p).derive(passphrase.encode())


# A stored file may ask for other costs than ours, but not for all of the controller's memory.
MAX_N, MAX_R, MAX_P = 2**20, 16, 16


def seal(secret: bytes, passphrase: str, context: str, cost: Cost | None = None) -> bytes:
    """Return ``secret`` encrypted (AES-256-GCM), as JSON text; it opens only with the same ``context``."""
    cost = cost or Cost()
    salt, nonce = os.urandom(16), os.urandom(12)
    box = AESGCM(cost.derive(passphrase, salt)).encrypt(nonce, secret, context.encode())
    parts = {"salt": salt, "nonce": nonce, "box": box}
    text = {name: base64.b64encode(value).decode() for name, value in parts.items()}
    return json.dumps({"kdf": "scrypt", "n": cost.n, "r": cost.r, "p": cost.p, **text}, indent=1).encode() + b"\n"


def unseal(stored: bytes, passphrase: str, context: str) -> bytes:
    """Return what ``seal`` was given.

    Raises:
        WrongPassphrase: the passphrase, the context or the content differ.
        Damaged: not such a file at all.
    """
    try:
        fields = json.loads(stored)
        cost = Cost(int(fields["n"]), int(fields["r"]), int(fields["p"]))
        salt, nonce, box = (base64.b64decode(fields[name], validate=True) for name in ("salt", "nonce", "box"))
        if fields["kdf"] != "scrypt" or cost.n > MAX_N or cost.r > MAX_R or cost.p > MAX_P:
            raise Damaged("it asks for a key derivation that is not used here")
        key = cost.derive(passphrase, salt)
        return AESGCM(key).decrypt(nonce, box, context.encode())
    except InvalidTag:
        raise WrongPassphrase("the passphrase does not open it") from None
    except Damaged:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise Damaged(f"it is not a sealed secret ({error})") from None


def seal_key(key: ec.EllipticCurvePrivateKey, passphrase: str, cost: Cost | None = None) -> bytes:
    """Return ``key`` as encrypted PKCS #8, PEM: what ``openssl pkcs8 -topk8 -scrypt`` writes, and ``openssl`` reads.

    ``cryptography`` writes PBKDF2 of 20,000 rounds only, too cheap to guess; so PBES2 (RFC 8018 section 6.2) is done
    here.
    """
    cost = cost or Cost()
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    salt, initial = os.urandom(16), os.urandom(16)
    padder = PKCS7(128).padder()
    cipher = Cipher(AES(cost.derive(passphrase, salt)), CBC(initial)).encryptor()
    box = cipher.update(padder.update(plain) + padder.finalize()) + cipher.finalize()

    costs = rfc7914.Scrypt_params()
    costs["salt"], costs["costParameter"], costs["blockSize"], costs["parallelizationParameter"] = (
        salt, cost.n, cost.r, cost.p,
    )  # fmt: skip
    scheme = rfc8018.PBES2_params()
    scheme["keyDerivationFunc"]["algorithm"] = rfc7914.id_scrypt
    scheme["keyDerivationFunc"]["parameters"] = encoder.encode(costs)
    scheme["encryptionScheme"]["algorithm"] = AES256_CBC
    scheme["encryptionScheme"]["parameters"] = encoder.encode(OctetString(initial))
    info = rfc5208.EncryptedPrivateKeyInfo()
    info["encryptionAlgorithm"]["algorithm"] = rfc8018.id_PBES2
    info["encryptionAlgorithm"]["parameters"] = encoder.encode(scheme)
    info["encryptedData"] = box
    return pem.encode(pem.ENCRYPTED_KEY, encoder.encode(info)).encode()


def unseal_key(stored: bytes, passphrase: str) -> ec.EllipticCurvePrivateKey:
    """Return the key.

    Raises:
        WrongPassphrase: the passphrase does not open it.
        Damaged: not an encrypted PKCS #8 key on an elliptic curve.
    """
    if f"BEGIN {pem.ENCRYPTED_KEY}".encode() not in stored:
        raise Damaged("it is not an encrypted PKCS #8 key")
    try:
        key = serialization.load_pem_private_key(stored, passphrase.encode())
    except (ValueError, TypeError):
        # CBC has no integrity: a wrong key and a damaged file look alike.
        raise WrongPassphrase("the passphrase does not open it") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Damaged("it is not a key on an elliptic curve")
    return key
