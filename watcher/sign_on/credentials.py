# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's key and certificate of one zone. The key is made here; what signs for it is on the owner's controller."""

from __future__ import annotations

import hashlib
import os
import pwd
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.btmm.fleet.plugins.module_utils import pem
from ansible_collections.btmm.fleet.plugins.module_utils.keyfiles import KeyFileError, openssl
from ansible_collections.btmm.fleet.plugins.module_utils.krb5_names import (
    InvalidPrincipal,
    check_user,
    user_organization,
)
from ansible_collections.btmm.fleet.plugins.module_utils.user_files import UserFileError, UserFiles

from . import NotEnrolledError, SignOnError, UntimelyError
from .token import Token

_PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a user's certificate says. Times are seconds since the epoch."""

    begins: float
    ends: float
    public_key: str

    @property
    def until(self) -> str:
        """Its end as people read it."""
        return moment(self.ends)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's files of one zone; ``zone`` is lower case, without final dot."""

    user: str
    zone: str
    files: UserFiles

    @classmethod
    def own(cls, zone: str) -> Credentials:
        """Return those of whoever runs this.

        Raises:
            SignOnError: his name cannot be a user's in the zone.
        """
        try:
            account = pwd.getpwuid(os.getuid())
            # The account's home, as the playbook looks there: HOME may be anything.
            return cls(check_user(account.pw_name), zone, UserFiles.at(Path(account.pw_dir), zone))
        except KeyError:
            raise SignOnError(f"the user {os.getuid()} has no name here; log in as one who has") from None
        except InvalidPrincipal as error:
            raise SignOnError(str(error)) from None

    def has_key(self) -> bool:
        """Whether there is a key, in a file or on a token."""
        return self.files.key.exists() or self.files.token.exists()

    def is_encrypted(self) -> bool:
        """Whether the key's file needs a passphrase."""
        return pem.ENCRYPTED_KEY in self._read(self.files.key)

    def make_key(self, passphrase: str) -> None:
        """Make an ECDSA P-256 key and a request for it; with an empty passphrase it is kept as it is.

        Raises:
            SignOnError: openssl fails, or a file cannot be written.
        """
        try:
            key = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
            request = openssl(
                "req", "-new", "-sha256", "-batch", "-subj", self.subject, "-key", "/dev/stdin", given=key
            )
            self._forget()
            self.files.write(self.files.key, _encrypted(key, passphrase) if passphrase else key, _PRIVATE)
            self.files.write(self.files.request, request)
        except (KeyFileError, UserFileError, OSError) as error:
            raise SignOnError(f"the key can't be made: {error}") from None

    def make_key_on(self, uri: str, pin: str, *, new: bool) -> None:
        """Make a key on a token, unless there is one and it need not be ``new``, and a request for it.

        Raises:
            SignOnError: the token refuses, or a file cannot be written.
        """
        from . import token_request  # noqa: PLC0415

        token = Token.of_uri(uri, self.zone)
        token.check(pin)
        if new and token.public_key():
            token.remove(pin)
        if not token.public_key():
            token.make_key(pin)
        try:
            request = token_request.make(self.subject, token.public_key(), lambda data: token.sign(pin, data))
            self._forget()
            self.files.write(self.files.token, f"{uri}\n".encode())
            self.files.write(self.files.request, request)
        except (KeyFileError, UserFileError, OSError) as error:
            raise SignOnError(f"the request can't be made: {error}") from None

    def token(self) -> Token | None:
        """Return the token that the key is on; None when it is in a file.

        Raises:
            SignOnError: its URI is damaged.
        """
        uri = self._read(self.files.token).strip()
        return Token.of_uri(uri, self.zone) if uri else None

    @property
    def subject(self) -> str:
        """Whose the key is, for those who look at the request; what the certificate says is not taken from it."""
        return f"/O={user_organization(self.zone)}/CN={self.user}"

    def decrypted(self, passphrase: str) -> bytes:
        """Return the key itself.

        Raises:
            SignOnError: it is another passphrase, or the file is damaged.
        """
        try:
            return openssl("pkey", "-in", str(self.files.key), "-passin", "stdin", given=f"{passphrase}\n".encode())
        except KeyFileError:
            raise SignOnError(
                f"{self.files.key} can't be opened with this passphrase; try again, or make another key by "
                "'btmm login --new --passphrase'"
            ) from None

    def fingerprint(self) -> str:
        """Return SHA-256 over the public key (SubjectPublicKeyInfo) that the request is for, hex.

        Raises:
            SignOnError: the request is damaged.
        """
        try:
            key = openssl("req", "-noout", "-pubkey", "-in", str(self.files.request)).decode()
        except KeyFileError as error:
            raise SignOnError(f"{self.files.request} is damaged ({error}); run 'btmm login --new'") from None
        return _fingerprint(key)

    def certificate(self) -> Certificate:
        """Return the certificate in force, for the key that is there.

        Raises:
            NotEnrolledError: there is none.
            UntimelyError: it is not valid now.
            SignOnError: it is damaged, or for another key.
        """
        if not self.has_key():
            raise NotEnrolledError(f"{self.user} has no key for {self.zone} here; run 'btmm login'")
        if not self._read(self.files.certificate):
            raise NotEnrolledError(f"{self.waiting()}; until then there are no tickets")
        path = str(self.files.certificate)
        try:
            said = openssl("x509", "-noout", "-startdate", "-enddate", "-pubkey", "-in", path).decode().splitlines()
            begins, ends = (ssl.cert_time_to_seconds(line.partition("=")[2]) for line in said[:2])
        except (KeyFileError, ValueError) as error:
            raise SignOnError(
                f"{path} is damaged ({error}); remove it, and have the owner run playbooks/login.yml"
            ) from None
        found = Certificate(begins, ends, "\n".join(said[2:]))
        if _fingerprint(found.public_key) != self.fingerprint():
            raise SignOnError(f"{path} is for another key; {self.waiting()}")
        now = time.time()
        if now < found.begins:
            raise UntimelyError(
                f"{self.user}'s certificate is valid from {moment(begins)} on (it is {moment(now)} here); set the clock"
            )
        if now >= found.ends:
            raise UntimelyError(
                f"{self.user}'s certificate expired at {found.until} (it is {moment(now)} here); "
                "have the owner run playbooks/login.yml"
            )
        return found

    def certificate_der(self) -> bytes:
        """Return the octets of the certificate; only for one that ``certificate`` found good."""
        return pem.decode(pem.CERTIFICATE, self._read(self.files.certificate))

    def waiting(self) -> str:
        """Return the clause that says who has to do what."""
        return (
            f"the owner of {self.zone} has yet to sign {self.user}'s request (key {self.fingerprint()[:16]}): "
            f"playbooks/login.yml --limit {os.uname().nodename}"
        )

    def _forget(self) -> None:
        """Take away what belongs to a former key: it must not be taken for the new one's."""
        for path in self.files.all():
            path.unlink(missing_ok=True)

    def _read(self, path: Path) -> str:
        try:
            return self.files.read(path)
        except UserFileError as error:
            raise SignOnError(str(error)) from None


def moment(seconds: float) -> str:
    """Return a time as people read it, in UTC: hosts may be anywhere."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _fingerprint(public_key: str) -> str:
    return hashlib.sha256(pem.decode(pem.PUBLIC_KEY, public_key)).hexdigest()


def _encrypted(key: bytes, passphrase: str) -> bytes:
    """Return a key under a passphrase: PBES2 with scrypt, which a guess costs 0.1 s (RFC 7914)."""
    # The key goes in by standard input, so the passphrase by a pipe of its own; neither is seen in the arguments.
    reading, writing = os.pipe()
    try:
        os.write(writing, f"{passphrase}\n".encode())
        os.close(writing)
        done = subprocess.run(
            ["openssl", "pkcs8", "-topk8", "-scrypt", "-passout", f"fd:{reading}"],
            input=key, capture_output=True, pass_fds=(reading,), check=False, timeout=60,
        )  # fmt: skip
    finally:
        os.close(reading)
    if done.returncode:
        raise KeyFileError(f"openssl: {' '.join(done.stderr.decode(errors='replace').split())[:200]}")
    return done.stdout
