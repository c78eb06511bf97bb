# SPDX-License-Identifier: GPL-3.0-or-later
"""What the owner issued: one small JSON file per enrolled name, and the rules that keep names and addresses unique."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


ROLES = ("host", "server", "kdc")
_MACHINES = ("host", "server")
USER_ROLE = "user-"  # and the user's name
_OPTIONAL = ("former", "issuer")  # of an enrolment; not in every record


class DamagedRecord(ValueError):
    """A stored record is not of the form that this library writes."""


class Conflict(ValueError):
    """Another host has this label or this key."""


@dataclass(frozen=True, slots=True)
class Former:
    """A certificate that another one took the place of, and that counts until it ends or is revoked."""

    serial: str
    key: str
    not_after: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One issued certificate.

    ``role`` is 'host', 'server', 'kdc', or 'user-' and the name of a user who has his key on the host; ``key`` is
    SHA-256 over the SubjectPublicKeyInfo, hex; ``serial`` is hex; ``not_after`` is ISO 8601 in UTC; ``ula`` is a host's
    alone. ``issuer`` is the fingerprint of the CA that signed; '' in records from before CAs could change.
    """

    label: str
    role: str
    host: str
    key: str
    ula: str | None
    serial: str
    not_after: str
    former: tuple[Former, ...] = ()
    issuer: str = ""

    def certificates(self) -> tuple[Former, ...]:
        """Return all that were issued under this name and may not have ended yet, the present one last."""
        return (*self.former, Former(self.serial, self.key, self.not_after))

    def after(self, before: Enrolment | None) -> Enrolment:
        """Return this enrolment with what it takes the place of, as far as that has not ended."""
        now = datetime.now(UTC)
        others = before.certificates() if before else ()
        held = (each for each in others if each.serial != self.serial and datetime.fromisoformat(each.not_after) > now)
        return replace(self, former=tuple(held))


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed certificate (PEM) and the enrolment it was recorded as."""

    certificate: str
    enrolment: Enrolment


class Registry:
    """The enrolments below one directory. The caller holds the store's lock while it writes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, label: str, role: str) -> Enrolment | None:
        """Return what was issued for ``label`` in ``role``.

        Raises:
            DamagedRecord: the file is not what ``put`` writes.
        """
        try:
            return _parse(self._path(label, role))
        except FileNotFoundError:
            return None

    def all(self) -> Iterator[Enrolment]:
        """Yield every enrolment, by file name.

        Raises:
            DamagedRecord: a file is not what ``put`` writes.
        """
        for path in sorted(self._directory.glob("*.json")):
            yield _parse(path)

    def put(self, enrolment: Enrolment) -> None:
        """Store ``enrolment`` in the place of a former one, whose certificates it remembers."""
        enrolment = enrolment.after(self.get(enrolment.label, enrolment.role))
        text = json.dumps(asdict(enrolment), indent=1, ensure_ascii=False) + "\n"
        write_atomic(self._path(enrolment.label, enrolment.role), text.encode())

    def roles_of(self, label: str) -> tuple[str, ...]:
        """Return the roles in which something is recorded for ``label``."""
        users = (path.stem.partition(".")[2] for path in sorted(self._directory.glob(f"{label}.{USER_ROLE}*.json")))
        return *(role for role in ROLES if self._path(label, role).exists()), *users

    def retire(self, label: str, attic: Path, mark: int) -> None:
        """Move what was issued for ``label`` to ``attic``, marked with a number."""
        attic.mkdir(mode=0o700, exist_ok=True)
        for role in self.roles_of(label):
            path = self._path(label, role)
            path.rename(attic / f"{path.stem}.{mark}.json")

    def check(self, label: str, role: str, host: str, key: str) -> None:
        """Refuse a label or a key that belongs to another host.

        Raises:
            Conflict: with both names and the fix.
            DamagedRecord: a file is not what ``put`` writes.
        """
        for other in self.all():
            # KDC and users are always beside the host of their label, whose own record says whose label it is.
            if other.role not in _MACHINES and role != other.role:
                continue
            if other.label == label and other.host != host and other.key != key:
                raise Conflict(
                    f"the label '{label}' belongs to host '{other.host}'; set another btmm_label here, "
                    f"or remove '{other.host}' from the fleet first"
                )
            if other.key != key or role != other.role or other.label == label:
                continue
            if other.host == host:
                raise Conflict(
                    f"this host is enrolled as '{other.label}' already; remove '{other.label}' from the fleet "
                    f"before it becomes '{label}'"
                )
            address = f" and so its address {other.ula}" if other.ula else ""
            raise Conflict(
                f"it carries the private key of host '{other.host}' (label '{other.label}'){address}: one is a clone "
                "of the other; delete the key file on the clone and run again"
            )

    def _path(self, label: str, role: str) -> Path:
        # A label has no dot, so the kinds cannot meet.
        return self._directory / (f"{label}.json" if role == "host" else f"{label}.{role}.json")


def key_fingerprint(key_der: bytes) -> str:
    """Return SHA-256 over a SubjectPublicKeyInfo (DER), lower-case hex."""
    return hashlib.sha256(key_der).hexdigest()


def _parse(path: Path) -> Enrolment:
    try:
        given = json.loads(path.read_bytes())
        former = tuple(Former(**_texts(each, Former)) for each in given.get("former", []))
        for each in former:
            datetime.fromisoformat(each.not_after)
        return Enrolment(**_texts(given, Enrolment), former=former, issuer=str(given.get("issuer", "")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedRecord(
            f"{path} is damaged ({error}); restore it from a backup, or delete it and run again"
        ) from None


def _texts(given: dict[str, Any], kind: type[Enrolment | Former]) -> dict[str, Any]:
    values = {field.name: given[field.name] for field in fields(kind) if field.name not in _OPTIONAL}
    if not all(isinstance(value, str) or (value is None and name == "ula") for name, value in values.items()):
        raise TypeError("a field is not text")
    return values
