# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's key, request and certificate in his home. Whoever is not the user reads them as him, and trusts nothing."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .atomic import write_atomic
from .keyfiles import PUBLIC_MODE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from pwd import struct_passwd

MAX_OCTETS = 65536  # a request or a certificate takes less than 4 kB


class UserFileError(RuntimeError):
    """A file of the user's cannot be read or written: cause and fix."""


@dataclass(frozen=True, slots=True)
class UserFiles:
    """What a user has for one zone. The key is not there when it is on a token, which ``token`` then names."""

    folder: Path

    @classmethod
    def at(cls, home: Path, zone: str) -> UserFiles:
        """Return those below a home; ``zone`` is lower case, without final dot."""
        return cls(home / ".config" / "btmm" / zone)

    @property
    def key(self) -> Path:
        """The private key, PEM; encrypted where the user wants a passphrase."""
        return self.folder / "user.key"

    @property
    def token(self) -> Path:
        """The PKCS #11 URI (RFC 7512) of a key that is on a token."""
        return self.folder / "user.uri"

    @property
    def request(self) -> Path:
        """The certificate request, PEM; it stays, so that a certificate can be renewed without the user."""
        return self.folder / "user.csr"

    @property
    def certificate(self) -> Path:
        """The certificate, PEM."""
        return self.folder / "user.pem"

    def all(self) -> tuple[Path, ...]:
        """Return every file that may be there."""
        return self.key, self.token, self.request, self.certificate

    def read(self, path: Path) -> str:
        """Return a file's text; '' when it is missing, a note when it is no text.

        Raises:
            UserFileError: it is no plain file, too large, or unreadable.
        """
        try:
            # Neither to follow where the user can't go himself, nor to wait for the writer of a pipe.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            cause = "it is a link" if error.errno == errno.ELOOP else error.strerror
            raise UserFileError(f"{path} can't be read ({cause}); remove it, and run 'btmm login' again") from None
        with os.fdopen(descriptor, "rb") as stream:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_OCTETS:
                raise UserFileError(f"{path} is no file of btmm's; remove it, and run 'btmm login' again")
            content = stream.read(MAX_OCTETS)
        return content.decode("ascii") if content.isascii() else "not text\n"

    def write(self, path: Path, content: bytes, mode: int = PUBLIC_MODE) -> None:
        """Write a file as the user, in a folder that is his alone.

        Raises:
            UserFileError: it can't be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(path, content, mode)
        except OSError as error:
            raise UserFileError(f"{path} can't be written ({error}); mend the folder or the disk") from None


@contextmanager
def acting_as(user: struct_passwd) -> Iterator[None]:
    """Touch files with the user's rights only: in his home he decides what a path leads to."""
    if os.geteuid() != 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    mask = os.umask(0o077)
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
        os.umask(mask)
