# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's key on a PKCS #11 token, by OpenSC's pkcs11-tool: it is made there, and never leaves it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from urllib.parse import unquote

from . import SignOnError
from .memory import in_memory, path_of

_PATIENCE_S = 120.0  # a smart card takes its time for an RSA key
_EXAMPLE = "pkcs11:token=NAME?module-path=/usr/lib/softhsm/libsofthsm2.so"


@dataclass(frozen=True, slots=True)
class Token:
    """The place of one zone's key: the driver's library, the token's label, the key's identifier (CKA_ID, hex)."""

    module: str
    label: str
    key_id: str

    @classmethod
    def of_uri(cls, uri: str, zone: str) -> Token:
        """Return the place on the token of a PKCS #11 URI (RFC 7512), of which ``token`` and ``module-path`` count.

        Raises:
            SignOnError: it lacks one of them, or MIT krb5 could not be told.
        """
        scheme, _, rest = uri.partition(":")
        path, _, query = rest.partition("?")
        pairs = (pair.partition("=") for pair in (*path.split(";"), *query.split("&")))
        given = {name: unquote(value) for name, _, value in pairs}
        module, label = given.get("module-path", ""), given.get("token", "")
        # A colon separates the parts of what kinit is told.
        if scheme != "pkcs11" or not module or not label or ":" in module + label:
            raise SignOnError(f"'{uri}' names no token; write it as in '{_EXAMPLE}'")
        return cls(module, label, hashlib.sha256(f"btmm {zone}".encode()).hexdigest()[:16])

    @property
    def identity(self) -> str:
        """MIT's name of the key and its certificate."""
        return f"PKCS11:module_name={self.module}:token={self.label}:certid={self.key_id}"

    def public_key(self) -> bytes:
        """Return the key's SubjectPublicKeyInfo (DER); b'' when it is not there.

        Raises:
            SignOnError: the token cannot be asked.
        """
        return self._read("pubkey")

    def certificate(self) -> bytes:
        """Return the certificate beside the key (DER); b'' when there is none; raises as above."""
        return self._read("cert")

    def check(self, pin: str) -> None:
        """Log in; kinit would not say that the PIN is wrong. Raises as above."""
        self._tool("--list-objects", "--type", "privkey", pin=pin)

    def make_key(self, pin: str) -> None:
        """Make an RSA key of 2048 bits: MIT krb5 (1.20, 1.21) signs by no other kind on a token. Raises as above."""
        self._tool("--keypairgen", "--key-type", "rsa:2048", "--usage-sign", *self._named(), pin=pin)

    def remove(self, pin: str) -> None:
        """Remove key and certificate, as far as they are there; raises as above."""
        for kind in ("cert", "pubkey", "privkey"):
            if kind == "privkey" or self._read(kind):
                self._tool("--delete-object", "--type", kind, "--id", self.key_id, pin=pin)

    def sign(self, pin: str, data: bytes) -> bytes:
        """Return the signature of data (RSASSA-PKCS1-v1_5, SHA-256); raises as above."""
        return self._tool("--sign", "--mechanism", "SHA256-RSA-PKCS", "--id", self.key_id, pin=pin, given=data)

    def keep(self, pin: str, certificate: bytes) -> None:
        """Put a certificate (DER) beside the key, where kinit looks for it; raises as above."""
        if self.certificate():
            self._tool("--delete-object", "--type", "cert", "--id", self.key_id, pin=pin)
        with in_memory(certificate) as file:  # a pipe would not do: it wants to know how large it is
            self._tool("--write-object", path_of(file), "--type", "cert", *self._named(), pin=pin, descriptors=(file,))

    def _named(self) -> tuple[str, ...]:
        return "--id", self.key_id, "--label", f"btmm {self.key_id}"

    def _read(self, kind: str) -> bytes:
        return self._tool("--read-object", "--type", kind, "--id", self.key_id, missing=b"")

    def _tool(
        self,
        *arguments: str,
        pin: str = "",
        given: bytes = b"",
        missing: bytes | None = None,
        descriptors: tuple[int, ...] = (),
    ) -> bytes:
        # By the environment, which only the user himself can read; arguments can be read by all.
        login = ("--login", "--pin", "env:BTMM_PIN") if pin else ()
        command = ["pkcs11-tool", "--module", self.module, "--token-label", self.label, *login, *arguments]
        environment = {**os.environ, "LC_ALL": "C", **({"BTMM_PIN": pin} if pin else {})}
        try:
            done = subprocess.run(
                command, input=given, env=environment, capture_output=True, check=False, timeout=_PATIENCE_S,
                pass_fds=descriptors,
            )  # fmt: skip
        except FileNotFoundError:
            raise SignOnError("there is no 'pkcs11-tool'; install the package opensc") from None
        except subprocess.TimeoutExpired:
            raise SignOnError(f"the token '{self.label}' gave no answer within {_PATIENCE_S:.0f} s") from None
        if done.returncode == 0:
            return done.stdout
        said = " ".join(done.stderr.decode(errors="replace").split())
        if missing is not None and "object not found" in said:
            return missing
        raise SignOnError(self._reason(said))

    def _reason(self, said: str) -> str:
        if "CKR_PIN_INCORRECT" in said or "CKR_PIN_LEN_RANGE" in said:
            return f"this is not the PIN of the token '{self.label}'; try again, but not too often: it may lock itself"
        if "CKR_PIN_LOCKED" in said:
            return f"the token '{self.label}' has locked itself after wrong PINs; unlock it with its own tool"
        if "No slot" in said:
            return f"there is no token '{self.label}'; plug it in, or see 'pkcs11-tool --module {self.module} -T'"
        return f"the token '{self.label}' can't be used: {said[:200]}"
