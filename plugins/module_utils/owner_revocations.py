# SPDX-License-Identifier: GPL-3.0-or-later
"""What the owner revoked: the records, and the signed list that every host gets."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import crl
from .atomic import write_atomic
from .crl import Revoked
from .owner_files import OwnerError, OwnerFiles
from .registry import USER_ROLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography import x509

    from .owner_authorities import Authority
    from .registry import Enrolment

RECORDS = "revoked.json"


@dataclass(frozen=True, slots=True)
class Revocations:
    """One zone's revocations. Each CA signs the same list: serial numbers are drawn, so no two certificates share one.

    ``planning``: nothing is written, as in OwnerStore.
    """

    files: OwnerFiles
    authorities: Sequence[Authority]
    planning: bool

    def all(self) -> list[Revoked]:
        """Return what was revoked and has not long expired.

        Raises:
            OwnerError: the file of records is damaged.
        """
        path = self.files.directory / RECORDS
        if not path.exists():
            return []
        try:
            given = json.loads(self.files.read(RECORDS))
            if not isinstance(given, list):
                raise TypeError("it is no list")
            return [_parse(each) for each in given]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise OwnerError(f"{path} is damaged ({error}); restore it from a backup") from None

    def holds(self, serial: str) -> bool:
        """Tell whether the certificate with this serial (hex) was revoked; OwnerError as above."""
        return any(each.serial == serial for each in self.all())

    def pem(self, planned: Iterable[Revoked] = ()) -> str:
        """Return the list in force, of each CA; made when there is none yet, or when it was lost.

        Planning, it is the one that there would be with what is ``planned``.

        Raises:
            OwnerError: wrong passphrase, or a store that cannot be used.
        """
        more = list(planned) if self.planning else []
        return "".join(crl.to_pem(self._in_force(authority, more)) for authority in self.authorities)

    def add(self, certificates: Iterable[Revoked]) -> list[Revoked]:
        """Revoke certificates; return those that were not revoked before (planning: that would be revoked).

        Raises:
            OwnerError: a store that cannot be used.
        """
        wanted = {each.serial: each for each in certificates}
        if self.planning:
            return [each for each in wanted.values() if each.serial not in {known.serial for known in self.all()}]
        with self.files.locked():
            held = self.all()
            fresh = [each for each in wanted.values() if each.serial not in {known.serial for known in held}]
            # A crash between the two files is mended by the next call, which compares the list with the records.
            if fresh or not self._is_current(held):
                for authority in self.authorities:
                    self._write([*held, *fresh], authority)
        return fresh

    def refuse(self, key: str) -> None:
        """Refuse a key, given by its fingerprint, that others may have: a new certificate would bring them back.

        Raises:
            OwnerError: with the fix.
        """
        for each in self.all():
            if each.key != key or each.reason != "key_compromise":
                continue
            holder, fix = f"'{each.label}'", "run unenrol.yml for it, which takes its keys away, then enrol it again"
            if each.role.startswith(USER_ROLE):
                holder = f"user '{each.role.removeprefix(USER_ROLE)}' on '{each.label}'"
                fix = "have the user make another by 'btmm login --new'"
            raise OwnerError(
                f"the private key of {holder} was revoked on {each.at[:10]}, since others may have it; {fix}"
            )

    def _in_force(self, authority: Authority, more: list[Revoked]) -> x509.CertificateRevocationList:
        former = self._former(authority)
        if former is not None and not more:
            return former
        if self.planning:
            return crl.make([*self.all(), *more], authority.certificate, authority.key, former)
        with self.files.locked():
            former = self._former(authority)  # another process may have been quicker
            return former if former is not None else self._write(self.all(), authority)

    def _former(self, authority: Authority) -> x509.CertificateRevocationList | None:
        path = self.files.directory / authority.list_file
        if not path.exists():
            return None
        try:
            return crl.load(self.files.read(path.name), authority.certificate)
        except ValueError as error:
            raise OwnerError(f"{path} is damaged ({error}); delete it, and it is made anew from {RECORDS}") from None

    def _is_current(self, held: Iterable[Revoked]) -> bool:
        wanted = {int(each.serial, 16) for each in held}
        formers = map(self._former, self.authorities)
        return all(each is not None and wanted <= {entry.serial_number for entry in each} for each in formers)

    def _write(self, revoked: list[Revoked], authority: Authority) -> x509.CertificateRevocationList:
        now = datetime.now(UTC)
        kept = [each for each in revoked if datetime.fromisoformat(each.not_after) + crl.KEPT_PAST_END > now]
        signed = crl.make(kept, authority.certificate, authority.key, self._former(authority), now)
        content = json.dumps([asdict(each) for each in kept], indent=1, ensure_ascii=False)
        # The records first: a list can be made of them, not the other way round.
        write_atomic(self.files.directory / RECORDS, content.encode() + b"\n")
        write_atomic(self.files.directory / authority.list_file, crl.to_pem(signed).encode(), 0o644)
        return signed


def of_enrolment(enrolment: Enrolment, reason: str) -> list[Revoked]:
    """Return all that revoking what was issued under one name means: also former certificates that still count."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        Revoked(each.serial, enrolment.label, enrolment.role, each.key, reason, at, each.not_after)
        for each in enrolment.certificates()
    ]


def of_serial(text: str, enrolments: Iterable[Enrolment], reason: str, end: datetime) -> Revoked:
    """Return the certificate with a serial number (hex); one that the owner has no record of may last until ``end``.

    Raises:
        OwnerError: it is no serial number.
    """
    try:
        serial = f"{int(text.replace(':', ''), 16):x}"
    except ValueError:
        raise OwnerError(f"'{text}' is no serial number; give it in hex, as openssl x509 -serial shows it") from None
    for enrolment in enrolments:
        for each in of_enrolment(enrolment, reason):
            if each.serial == serial:
                return each
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Revoked(serial, "", "", "", reason, at, end.isoformat())


def _parse(given: dict[str, str]) -> Revoked:
    values = {field.name: given[field.name] for field in fields(Revoked)}
    if not all(isinstance(value, str) for value in values.values()):
        raise TypeError("a field is not text")
    if values["reason"] not in crl.REASONS:
        raise ValueError(f"{values['reason']} is no reason")
    int(values["serial"], 16)
    for name in ("at", "not_after"):
        if datetime.fromisoformat(values[name]).tzinfo is None:
            raise ValueError(f"{name} has no time zone")
    return Revoked(**values)
