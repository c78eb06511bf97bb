# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's Local KDC as files and MIT krb5's own tools: standard library only, since it runs on the host."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from . import pem
from .atomic import write_atomic
from .keyfiles import PUBLIC_MODE, KeyFileError, KeyFiles, openssl, read
from .krb5_names import realm_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Twenty years: the realm is named for it, so it is never renewed. Nobody trusts it, so its end does no harm.
ANCHOR_DAYS = 7305
_DURATION = re.compile(r"([0-9]+[dhms])+")

_CONF = """\
# Written by btmm.fleet.lkdc_realm.
[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_lookup_realm = false

[kdcdefaults]
    kdc_listen = {listen}
    kdc_tcp_listen = {listen}

[realms]
    {realm} = {{
        database_module = btmm
        key_stash_file = {data}/stash
        acl_file = {data}/kadm5.acl
        master_key_type = aes256-cts-hmac-sha384-192
        supported_enctypes = aes256-cts-hmac-sha384-192:normal aes256-cts-hmac-sha1-96:normal
        default_principal_flags = +preauth
        max_life = {max_life}
        max_renewable_life = {max_renewable_life}
        # Samba 4.17 takes no ticket with a PAC unless it is in a domain; here nobody reads what is in one.
        disable_pac = true
        pkinit_identity = FILE:{directory}/kdc.pem,{directory}/key.pem
        pkinit_anchors = FILE:{directory}/ca.pem
        pkinit_revoke = FILE:{directory}/crl.pem
        pkinit_require_crl_checking = true
    }}

# No login is written down: a KDC that only reads its database needs no right to write it.
[dbmodules]
    btmm = {{
        db_library = db2
        database_name = {data}/principal
        disable_last_success = true
        disable_lockout = true
    }}

[logging]
    kdc = STDERR
"""


class LkdcError(RuntimeError):
    """The Local KDC cannot be made, read or changed: cause and fix."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What kdc.conf says besides the realm. ``listen`` are addresses; lives are durations of MIT krb5 ('10h', '7d')."""

    listen: tuple[str, ...]
    port: int
    max_life: str
    max_renewable_life: str

    @property
    def sockets(self) -> str:
        """Addresses with the port, IPv6 ones in brackets.

        Raises:
            LkdcError: one is no address, or the port is none.
        """
        if not 0 < self.port < 65536:
            raise LkdcError(f"{self.port} is no port; correct 'port'")
        try:
            addresses = [ip_address(text) for text in self.listen]
        except ValueError as error:
            raise LkdcError(f"{error}; correct 'listen'") from None
        return ",".join(f"[{ip}]:{self.port}" if ip.version == 6 else f"{ip}:{self.port}" for ip in addresses)


@dataclass(frozen=True, slots=True)
class Kdc:
    """One realm's KDC: ``directory`` has its keys and configuration."""

    directory: Path

    @property
    def anchor(self) -> Path:
        """The self-signed certificate that names the realm."""
        return self.directory / "anchor.pem"

    @property
    def key(self) -> Path:
        """The private key of anchor and KDC certificate."""
        return self.directory / "key.pem"

    @property
    def conf(self) -> Path:
        """What KRB5_KDC_PROFILE names."""
        return self.directory / "kdc.conf"

    @property
    def files(self) -> KeyFiles:
        """Key, KDC certificate, owner CA, and what that revoked."""
        kdc, ca, crl = (self.directory / name for name in ("kdc.pem", "ca.pem", "crl.pem"))
        return KeyFiles(self.key, kdc, ca, "root", "root", 0o600, crl)

    def realm(self) -> str | None:
        """Return the realm; None when there is no anchor yet.

        Raises:
            LkdcError: the anchor's file is damaged.
        """
        try:
            return realm_of(pem.decode(pem.CERTIFICATE, self.anchor.read_text(encoding="ascii")))
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise LkdcError(
                f"{self.anchor} is damaged ({error}); restore it, or remove the realm (state: absent) to get a new one"
            ) from None

    def make_anchor(self) -> None:
        """Make the anchor of a host that has a key, and no anchor.

        Raises:
            LkdcError: openssl fails, or the file cannot be written.
        """
        options = ("-sha256", "-batch", "-days", str(ANCHOR_DAYS), "-subj", "/CN=Local KDC", "-key", str(self.key))
        try:
            write_atomic(self.anchor, openssl("req", "-x509", "-new", *options), PUBLIC_MODE)
        except (KeyFileError, OSError) as error:
            raise LkdcError(f"{self.anchor} cannot be made: {error}") from None

    def conf_text(self, realm: str, data: Path, settings: Settings) -> str:
        """Return kdc.conf; ``data`` is the database's folder.

        Raises:
            LkdcError: a value that cannot stand in it.
        """
        for path in (self.directory, data):
            # In KRB5_CONFIG a colon separates paths; blanks and brackets mean something in the file.
            if not path.is_absolute() or set(str(path)) & set(":{}[]=,\n "):
                raise LkdcError(f"'{path}' cannot be a folder of the KDC; choose an absolute path of plain characters")
        lives = {"max_life": settings.max_life, "max_renewable_life": settings.max_renewable_life}
        for name, value in lives.items():
            if not _DURATION.fullmatch(value):
                raise LkdcError(f"{name} '{value}' is no duration; write it as in '10h' or '7d'")
        return _CONF.format(realm=realm, listen=settings.sockets, directory=self.directory, data=data, **lives)

    def has_database(self) -> bool:
        """Whether the database is there that kdc.conf names."""
        named = re.search(r"^ *database_name = (.+)$", read(self.conf), re.MULTILINE)
        return named is not None and Path(named[1]).exists()

    def create(self, realm: str, data: Path) -> None:
        """Make the database and its stash. The master password is drawn, and forgotten.

        Raises:
            LkdcError: kdb5_util refuses.
        """
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        # From standard input: the arguments of a process can be read by all.
        password = secrets.token_urlsafe(32)
        self.run("kdb5_util", "-r", realm, "create", "-s", given=f"{password}\n{password}\n")

    def kadmin(self, realm: str, commands: Sequence[str]) -> str:
        """Run commands in one kadmin.local; return what it complained of. What was done has to be read again.

        Raises:
            LkdcError: it cannot be run at all.
        """
        if not commands:
            return ""
        return self.run("kadmin.local", "-r", realm, given="".join(f"{command}\n" for command in commands)).stderr

    def table(self, realm: str, name: str) -> list[dict[str, str]]:
        """Return one table of ``kdb5_util tabdump``, a dictionary per row.

        Raises:
            LkdcError: the database cannot be read.
        """
        lines = self.run("kdb5_util", "-r", realm, "tabdump", name).stdout.splitlines()
        columns = lines[0].split("\t") if lines else []
        return [dict(zip(columns, line.split("\t"), strict=False)) for line in lines[1:]]

    def run(self, tool: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of MIT krb5's tools on this realm alone, whatever else the host has in /etc/krb5.conf.

        Raises:
            LkdcError: it is missing, hangs or fails.
        """
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        environment = {"KRB5_CONFIG": str(self.conf), "KRB5_KDC_PROFILE": str(self.conf), "PATH": path, "LC_ALL": "C"}
        found = shutil.which(tool, path=path)
        if found is None:
            raise LkdcError(f"there is no '{tool}'; install the packages krb5-kdc and krb5-admin-server")
        try:
            done = subprocess.run(
                [found, *arguments], input=given, env=environment, capture_output=True, text=True, check=False,
                timeout=60,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise LkdcError(f"{tool} gave no answer within 60 s; is another one waiting for the database?") from None
        if done.returncode:
            raise LkdcError(f"{tool}: {_sentence(done.stderr)}; is the database of {self.directory} whole?")
        return done


def complaints(text: str) -> str:
    """Return what kadmin.local complained of, without its usual talk, on one line."""
    return _sentence("\n".join(line for line in text.splitlines() if not line.startswith("No policy specified")))


def database_files(data: Path) -> Iterable[Path]:
    """Return the files that ``create`` makes, and the tools add."""
    return (
        data / name
        for name in ("principal", "principal.ok", "principal.kadm5", "principal.kadm5.lock", "stash", "kadm5.acl")
    )


def _sentence(text: str) -> str:
    return " ".join(text.split())[:300]
