# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner's state on the controller, one folder per zone: the CA, the zone secret, the /48, and what was issued.

Files are as in docs/architecture.md ("The owner's state"). Forks of one run may use the store at the same time.
"""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import sealed, x509
from .owner_authorities import Authorities, Authority
from .owner_files import OwnerError, OwnerFiles, ZoneState, owner_errors
from .owner_revocations import Revocations, of_enrolment
from .registry import Enrolment, Issued, Registry, key_fingerprint
from .ula import host_address, stand_in_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv6Address, IPv6Network
    from pathlib import Path

    from cryptography import x509 as cx509
    from cryptography.hazmat.primitives.asymmetric import ec

MIN_PASSPHRASE = 8

__all__ = ["Issued", "OwnerError", "OwnerStore"]


class OwnerStore:
    """The state of one zone.

    Args:
        directory: ``btmm_owner_dir``.
        zone: the zone's name, lower case, with or without the final dot.
        passphrase: ``btmm_owner_passphrase``; a key is derived from it only when a secret is needed, once per object.
        planning: check mode. Nothing is ever written; a store that does not exist yet is imagined in memory, so that
            what follows can be planned.
    """

    def __init__(self, directory: Path, zone: str, passphrase: str, *, planning: bool = False) -> None:
        self.zone = zone.lower().removesuffix(".")
        self.directory = directory / self.zone
        self._passphrase = passphrase
        self._planning = planning
        self._files = OwnerFiles(self.directory, self.zone)
        self._registry = Registry(self.directory / "hosts")
        self.authorities = Authorities(self._files, self._registry, passphrase, planning=planning)

    @property
    def exists(self) -> bool:
        """Whether there is a store on disk."""
        return self._files.exist

    def init(self) -> bool:
        """Make the store if there is none; return whether it was (or, planning, would be) made.

        Raises:
            OwnerError: passphrase missing, too short or wrong; a place that cannot be written or is taken.
        """
        if self.exists:
            self.unlock()
            return False
        if not self._passphrase:
            raise OwnerError(
                "there is no passphrase for the owner's secrets; set btmm_owner_passphrase (ansible-vault)"
            )
        if len(self._passphrase) < MIN_PASSPHRASE:
            raise OwnerError(f"btmm_owner_passphrase has less than {MIN_PASSPHRASE} characters; choose a longer one")
        if not self._planning:
            self._files.make(self._passphrase)
            self.unlock()
        return True

    @property
    def prefix(self) -> IPv6Network:
        """The zone's /48 (a stand-in when planning without a store).

        Raises:
            OwnerError: there is no store, or its file is damaged.
        """
        return self._state.prefix

    @property
    def ca_certificate_pem(self) -> str:
        """The CA certificate; during a rollover both, one after the other.

        Raises:
            OwnerError: there is no store, or its file is damaged.
        """
        return "".join(x509.to_pem(each.certificate) for each in self._anchors)

    @property
    def ca(self) -> cx509.Certificate:
        """The certificate of the CA that signs, parsed; raises as ``ca_certificate_pem`` does."""
        return self._issuing.certificate

    def enrolments(self) -> list[Enrolment]:
        """Return everything issued and not forgotten.

        Raises:
            OwnerError: a record is damaged.
        """
        with owner_errors():
            return list(self._registry.all())

    def enrolment(self, label: str, role: str = "host") -> Enrolment | None:
        """Return what was issued for ``label``; OwnerError when the record is damaged."""
        with owner_errors():
            return self._registry.get(label, role)

    def address(self, key_der: bytes) -> IPv6Address:
        """Return the ULA of the host with this SubjectPublicKeyInfo (DER)."""
        return host_address(self.prefix, key_der)

    def unlock(self) -> None:
        """Check the passphrase against the store.

        Raises:
            OwnerError: it is wrong, or a file is missing or damaged.
        """
        _ = self._secret

    def check(self, label: str, role: str, host: str, key_der: bytes) -> None:
        """Refuse a label or a key that belongs to another host; ``sign`` does it too.

        Raises:
            OwnerError: with both names and the fix.
        """
        key = key_fingerprint(key_der)
        self.revocations.refuse(key)
        with owner_errors():
            self._registry.check(label, role, host, key)

    def sign(self, request_pem: str, profile: x509.AnyProfile, *, label: str, host: str) -> Issued:
        """Sign and record a certificate for the key of a request; names come from ``profile`` only.

        Args:
            request_pem: the host's PKCS #10 request.
            profile: what the certificate shall say. A fleet host's ``ula`` is worked out here again, from the key.
            label: the host's label in the zone.
            host: its name in the inventory.

        Raises:
            OwnerError: a bad request, a conflict with another host, or a store that cannot be used.
        """
        with owner_errors():
            request = x509.load_request(request_pem, rsa=profile.rsa_keys)
        key_der = x509.spki(request)
        self.revocations.refuse(key_fingerprint(key_der))
        ula = None
        if isinstance(profile, x509.Profile) and profile.ula:
            ula = self.address(key_der)
            profile = replace(profile, ula=ula)
        # Signed outside the lock: unlocking the CA key takes 0.1 s, and a certificate that nobody gets harms nobody.
        certificate = x509.issue(request, profile, self.ca, self._ca_key)
        enrolment = Enrolment(
            label=label,
            role=profile.role,
            host=host,
            key=key_fingerprint(key_der),
            ula=str(ula) if ula else None,
            serial=x509.serial(certificate),
            not_after=certificate.not_valid_after_utc.isoformat(),
            issuer=x509.fingerprint(self.ca),
        )
        if self._planning:
            self.check(label, profile.role, host, key_der)
        else:
            with self._files.locked(), owner_errors():
                self._registry.check(label, profile.role, host, enrolment.key)
                self._registry.put(enrolment)
        return Issued(x509.to_pem(certificate), enrolment)

    def tsig_secret(self, label: str) -> str:
        """Return the TSIG key of a host, base64 of 32 octets: HKDF-SHA256 (RFC 5869) over the zone secret.

        The info is the key's name and its generation: nothing has to be stored, and a removed host's key never returns.

        Raises:
            OwnerError: wrong passphrase, or a store that cannot be used.
        """
        generation = self.tsig_generation(label)
        info = f"btmm tsig {label}.{self.zone}. {generation}".encode()
        return base64.b64encode(HKDF(hashes.SHA256(), 32, None, info).derive(self._secret)).decode()

    def tsig_generation(self, label: str) -> int:
        """Return how often the host's TSIG key was replaced, part of the key's name; OwnerError as above."""
        return self._state.generations.get(label, 0)

    def rotate(self, labels: Iterable[str]) -> None:
        """Raise the generation of these TSIG keys; when planning, nothing happens.

        Raises:
            OwnerError: a store that cannot be used.
        """
        if self._planning:
            return
        with self._files.locked():
            state = self._files.read_state()
            for label in labels:
                state = state.raised(label)
            self._files.write_state(state)
        self._state = state

    def export(self) -> dict[str, str]:
        """Return the store's files for a backup, in base64 by relative path; OwnerError when they cannot be read."""
        with self._files.locked():
            return self._files.export()

    def restore(self, files: Mapping[str, str]) -> bool:
        """Make the store of what ``export`` returned; return whether it was (or would be) made.

        A store that is there stays, since it may know of hosts that came later, or have another CA by now.

        Raises:
            OwnerError: the one that is there is another one, or the passphrase does not open it.
        """
        if self.exists:
            self.unlock()
            if base64.b64decode(files["zone.secret"]) != self._files.read("zone.secret"):
                raise OwnerError(
                    f"the owner's state in {self.directory} is not the one of the backup; move it away, "
                    "or set btmm_owner_dir"
                )
            return False
        if not self._planning:
            self._files.restore(files)
            self.unlock()
        return True

    def forget(self, label: str, reason: str = "cessation_of_operation") -> bool:
        """Remove a host: its certificates are revoked, its TSIG key dies, what was issued is kept in ``removed/``.

        Returns whether anything was (or would be) removed.

        Raises:
            OwnerError: a store that cannot be used.
        """
        if not self.exists or not self._registry.roles_of(label):
            return False
        if self._planning:
            return True
        with owner_errors():
            held = [self._registry.get(label, role) for role in self._registry.roles_of(label)]
        self.revocations.add(each for found in held if found for each in of_enrolment(found, reason))
        with self._files.locked():
            state = self._files.read_state().raised(label)
            # Certificate and key die first: a crash in between leaves a record to remove, never a key that still signs.
            self._files.write_state(state)
            self._registry.retire(label, self.directory / "removed", state.generations[label])
        self._state = state
        return True

    @property
    def revocations(self) -> Revocations:
        """What was revoked, and the list that says so; OwnerError when there is no store."""
        return Revocations(self._files, self._anchors, self._planning)

    @cached_property
    def _state(self) -> ZoneState:
        if self._imagined:
            return ZoneState(stand_in_prefix(self.zone), {})
        return self._files.read_state()

    @cached_property
    def _secret(self) -> bytes:
        if self._imagined:
            return os.urandom(32)
        with owner_errors(self.directory / "zone.secret"):
            return sealed.unseal(self._files.read("zone.secret"), self._passphrase, self.zone)

    @property
    def _anchors(self) -> list[Authority]:
        return [self._imagined] if self._imagined else self.authorities.anchors

    @property
    def _issuing(self) -> Authority:
        return self._imagined or self.authorities.issuing

    @property
    def _ca_key(self) -> ec.EllipticCurvePrivateKey:
        return self._issuing.key

    @cached_property
    def _imagined(self) -> Authority | None:
        """A CA to plan with, never written; None when there is a store or one is needed."""
        if not self._planning or self.exists:
            return None
        ca, key = x509.make_ca(self.zone, stand_in_prefix(self.zone))
        return Authority(ca, lambda: key)
