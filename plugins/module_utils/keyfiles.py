# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's key, certificate and CA as files on that host; standard library and the host's openssl only."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .atomic import write_atomic
from .bundle import second_path

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC_MODE = 0o644
# What openssl is told to make, and what that is called. Racoon signs by RSA only.
KEY_TYPES = {
    "ec": (("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "ECDSA P-256"),
    "rsa": (("RSA", "-pkeyopt", "rsa_keygen_bits:3072"), "RSA, 3072 bits"),
}
# rsaEncryption (RFC 8017 appendix A.1) as a SubjectPublicKeyInfo has it: DER of the algorithm's identifier.
_RSA = bytes.fromhex("06092a864886f70d010101")


class KeyFileError(RuntimeError):
    """The key cannot be made, read or written: cause and fix."""


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where one identity's files are, and who may read the key.

    ``crl``: the list of what the CA revoked, if wanted. ``key_type``: one of `KEY_TYPES`. ``seconds``: CA and list have
    a second file (see ``bundle``).
    """

    key: Path
    certificate: Path
    ca: Path
    owner: str
    group: str
    key_mode: int
    crl: Path | None = None
    key_type: str = "ec"
    seconds: bool = False

    @property
    def new_key(self) -> str:
        """What a diff shows of a key that is made."""
        return f"private key ({KEY_TYPES[self.key_type][1]}), made on this host\n"

    def modes(self) -> dict[Path, int]:
        """Return every file with the mode it shall have."""
        public = [self.certificate, self.ca, *([self.crl] if self.crl else []), *self.second_paths()]
        return {self.key: self.key_mode, **dict.fromkeys(public, PUBLIC_MODE)}

    def second_paths(self) -> dict[Path, Path]:
        """Return the second files by what they are made of."""
        return {second_path(path): path for path in (self.ca, self.crl) if path} if self.seconds else {}

    def make_key(self) -> None:
        """Make a key, also in the place of another one: it is in a private file from its first moment on disk.

        Raises:
            KeyFileError: openssl fails, or the file cannot be written.
        """
        self._write(self.key, openssl("genpkey", "-algorithm", *KEY_TYPES[self.key_type][0]))

    def has_key(self) -> bool:
        """Return whether there is a key of this type.

        Raises:
            KeyFileError: there is a key, and it is unreadable.
        """
        if not self.key.exists():
            return False
        return (_RSA in self._of_key("pkey", "-pubout", "-outform", "DER", "-in")) == (self.key_type == "rsa")

    def request(self) -> str:
        """Return a certificate request (PEM) signed by the key; the controller takes nothing but the key from it.

        Raises:
            KeyFileError: the key is unreadable.
        """
        return self._of_key("req", "-new", "-sha256", "-batch", "-subj", "/CN=btmm", "-key").decode()

    def install(self, path: Path, content: str) -> None:
        """Write a certificate, or the list.

        Raises:
            KeyFileError: the file cannot be written.
        """
        self._write(path, content.encode())

    def _of_key(self, *arguments: str) -> bytes:
        try:
            return openssl(*arguments, str(self.key))
        except KeyFileError as error:
            raise KeyFileError(
                f"the private key {self.key} is unusable ({error}); restore it, or delete it to get a new one "
                "(and a new address)"
            ) from None

    def _write(self, path: Path, content: bytes) -> None:
        try:
            self._make_directory(path.parent)
            write_atomic(path, content, self.modes()[path], self.owner, self.group)
        except (OSError, LookupError) as error:
            raise KeyFileError(f"{path} cannot be written ({error}); mend the folder, its owner or the disk") from None

    def _make_directory(self, directory: Path) -> None:
        """Make a missing folder: the key's is closed to others, as strongSwan's package makes it."""
        if directory.is_dir():
            return
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o750 if directory == self.key.parent else 0o755)
        shutil.chown(directory, self.owner, self.group)


def read(path: Path) -> str:
    """Return a certificate file's text; '' when it is missing. What is no text is returned as a note that is no PEM."""
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        return "not text\n"


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    """Run the host's openssl on what it is given by standard input, and return what it wrote.

    Raises:
        KeyFileError: it is missing, hangs or refuses.
    """
    try:
        done = subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=False, timeout=60)
    except FileNotFoundError:
        raise KeyFileError("there is no 'openssl'; install the package openssl") from None
    except subprocess.TimeoutExpired:
        raise KeyFileError("openssl gave no answer within 60 s; is the machine out of memory?") from None
    if done.returncode != 0:
        raise KeyFileError("openssl: " + " ".join(done.stderr.decode(errors="replace").split())[:200])
    return done.stdout
