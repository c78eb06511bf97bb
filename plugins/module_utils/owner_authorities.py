# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner's CAs on the controller: one, or two while the next takes the place of the present one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography import x509 as cx509

from . import sealed, x509
from .atomic import write_atomic
from .owner_files import OwnerError, owner_errors
from .owner_revocations import Revocations

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv6Network

    from cryptography.hazmat.primitives.asymmetric import ec

    from .owner_files import OwnerFiles
    from .registry import Enrolment, Registry

STATE = "rollover.json"
NEXT = "next-"  # before the names of the next CA's files, until it is the only one
CERTIFICATE, KEY, LIST = "ca.crt", "ca.key", "crl.pem"
BOTH, ISSUING, RETIRING = "both", "issuing", "retiring"
_MACHINES = ("host", "server", "kdc")  # what judges certificates by anchors of its own


@dataclass(frozen=True)
class Authority:
    """One CA; ``list_file`` says what it revoked. ``open_key`` asks for the passphrase's work."""

    certificate: cx509.Certificate
    open_key: Callable[[], ec.EllipticCurvePrivateKey]
    list_file: str = LIST

    @cached_property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The private key; OwnerError when it can't be opened."""
        return self.open_key()


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a rollover is: in BOTH the present CA signs, in ISSUING the next one. ``holders`` have both anchors."""

    name: str
    holders: tuple[str, ...] = ()


class Authorities:
    """One zone's CAs, and the steps from one to the next. Each step may be cut short, and is taken again.

    ``planning``: nothing is written, as in OwnerStore.
    """

    def __init__(self, files: OwnerFiles, registry: Registry, passphrase: str, *, planning: bool) -> None:
        self._files, self._registry = files, registry
        self._passphrase, self._planning = passphrase, planning

    @cached_property
    def stage(self) -> Stage | None:
        """How far a rollover is; None when there is none.

        Raises:
            OwnerError: the file is damaged.
        """
        found = self._read()
        if found is None or found.name != RETIRING:
            return found
        if self._planning:
            raise OwnerError(f"{self._files.directory}: a rollover was cut short; run without --check to end it")
        with self._files.locked():
            self._finish()
        return None

    @cached_property
    def anchors(self) -> list[Authority]:
        """Every CA whose word counts, the oldest first; OwnerError when a file is missing or damaged."""
        prefixes = ("", NEXT) if self.stage else ("",)  # the stage first: it may end what was cut short
        return [self._authority(prefix) for prefix in prefixes]

    @property
    def issuing(self) -> Authority:
        """The CA that signs; OwnerError as above."""
        return self.anchors[-1 if self.stage and self.stage.name == ISSUING else 0]

    def begin(self, zone: str, prefix: IPv6Network) -> bool:
        """Make the next CA beside the present one; return whether there was none (planning: would be made).

        Raises:
            OwnerError: a store that cannot be used.
        """
        if self.stage:
            return False
        if not self._planning:
            ca, key = x509.make_ca(zone, prefix, former=self.issuing.certificate)
            with self._files.locked():
                directory = self._files.directory
                write_atomic(directory / f"{NEXT}{KEY}", sealed.seal_key(key, self._passphrase))
                write_atomic(directory / f"{NEXT}{CERTIFICATE}", x509.to_pem(ca).encode(), 0o644)
                # A list that a former attempt left would be of another CA.
                (directory / f"{NEXT}{LIST}").unlink(missing_ok=True)
                self._write(Stage(BOTH))
        return True

    def abandon(self) -> bool:
        """Forget the next CA, which signed nothing yet; return whether there was (would have been) one.

        Raises:
            OwnerError: it signs already.
        """
        if not self.stage:
            return False
        if self.stage.name != BOTH:
            raise OwnerError("the next CA signs already, so its certificates are in use; go on with rollover.yml")
        if not self._planning:
            with self._files.locked():
                # First what says that it counts: what a crash leaves of the others is made anew by the next beginning.
                (self._files.directory / STATE).unlink(missing_ok=True)
                for name in (KEY, CERTIFICATE, LIST):
                    (self._files.directory / f"{NEXT}{name}").unlink(missing_ok=True)
                self._forget()
        return True

    def note_holder(self, label: str, role: str) -> None:
        """Remember that a machine has all anchors; OwnerError as above."""
        name = _name(label, role)
        if self._planning or not self.stage or name in self.stage.holders:
            return
        with self._files.locked():
            held = self._read()  # other forks note theirs
            if held is not None:
                self._write(replace(held, holders=tuple(sorted({*held.holders, name}))))

    def lacking(self) -> list[str]:
        """Return which machines with a certificate that counts lack the next anchor; OwnerError as above."""
        holders = self.stage.holders if self.stage else ()
        names = [_name(each.label, each.role) for each in self._counting() if each.role in _MACHINES]
        return [name for name in names if name not in holders]

    def issue(self, *, force: bool = False) -> bool:
        """Have the next CA sign from now on, if everybody can judge by it; return whether it is (would be) news.

        Args:
            force: do it though machines lack the anchor; they let nobody in who has a new certificate.

        Raises:
            OwnerError: a store that cannot be used.
        """
        if not self.stage or self.stage.name != BOTH or (self.lacking() and not force):
            return False
        if not self._planning:
            with self._files.locked():
                held = self._read()
                self._write(replace(held or self.stage, name=ISSUING))
        return True

    def outdated(self) -> list[str]:
        """Return what has a certificate that counts of another CA than the issuing one; OwnerError as above."""
        issuer = x509.fingerprint(self.issuing.certificate)
        return [_name(each.label, each.role) for each in self._counting() if each.issuer != issuer]

    def retire(self, *, force: bool = False) -> bool:
        """Forget the former CA; return whether there was (would have been) one.

        Args:
            force: do it though certificates of it are in use; they are worth nothing then.

        Raises:
            OwnerError: its certificates are still in use, or the next one does not sign yet.
        """
        if not self.stage:
            return False
        if self.stage.name != ISSUING:
            raise OwnerError(
                f"the next CA does not sign yet, and these lack it: {', '.join(self.lacking()) or 'none'}; "
                "run rollover.yml for them first"
            )
        if (left := self.outdated()) and not force:
            raise OwnerError(
                f"certificates of the former CA are in use by {', '.join(left)}; run rollover.yml for these hosts, "
                "login.yml for users with another key, unenrol.yml or revoke.yml for who is gone, or say "
                "-e btmm_rollover_force=true"
            )
        if not self._planning:
            with self._files.locked():
                self._write(replace(self.stage, name=RETIRING))
                self._finish()
        return True

    def _finish(self) -> None:
        """Put the next CA's files in the place of the former one's; what a crash left undone is done again."""
        directory = self._files.directory
        for name in (LIST, KEY, CERTIFICATE):
            if (directory / f"{NEXT}{name}").exists():
                (directory / f"{NEXT}{name}").replace(directory / name)
        (directory / STATE).unlink(missing_ok=True)  # another process may have done all this

    def _authority(self, prefix: str) -> Authority:
        path = self._files.directory / f"{prefix}{CERTIFICATE}"
        try:
            certificate = cx509.load_pem_x509_certificate(self._files.read(path.name))
        except ValueError as error:
            raise OwnerError(f"{path} is damaged ({error}); restore it from a backup") from None
        return Authority(certificate, lambda: self._open(f"{prefix}{KEY}", certificate), f"{prefix}{LIST}")

    def _open(self, name: str, certificate: cx509.Certificate) -> ec.EllipticCurvePrivateKey:
        directory = self._files.directory
        with owner_errors(directory / name):
            key = sealed.unseal_key(self._files.read(name), self._passphrase)
        if key.public_key() != certificate.public_key():
            other = name.replace(KEY, CERTIFICATE)
            raise OwnerError(f"{directory}: {name} and {other} do not match; restore both from one backup")
        return key

    def _counting(self) -> list[Enrolment]:
        """Return whose certificate has neither ended nor been revoked: nobody waits for another."""
        now = datetime.now(UTC)
        revoked = {each.serial for each in Revocations(self._files, (), planning=True).all()}
        with owner_errors():
            held = list(self._registry.all())
        return [each for each in held if each.serial not in revoked and datetime.fromisoformat(each.not_after) > now]

    def _read(self) -> Stage | None:
        path = self._files.directory / STATE
        if not path.exists():
            return None
        try:
            given = json.loads(self._files.read(STATE))
            stage = Stage(given["name"], tuple(map(str, given["holders"])))
            if stage.name not in (BOTH, ISSUING, RETIRING):
                raise ValueError(f"{stage.name} is no stage")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise OwnerError(f"{path} is damaged ({error}); restore it from a backup") from None
        return stage

    def _write(self, stage: Stage) -> None:
        write_atomic(self._files.directory / STATE, json.dumps(asdict(stage), indent=1).encode() + b"\n")
        self._forget()

    def _forget(self) -> None:
        self.__dict__.pop("stage", None)
        self.__dict__.pop("anchors", None)


def _name(label: str, role: str) -> str:
    return label if role == "host" else f"{label} ({role.replace('-', ' ')})"
