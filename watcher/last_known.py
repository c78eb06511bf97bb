# SPDX-License-Identifier: GPL-3.0-or-later
"""What the zone last said, kept on disk for the time in which nobody serves it: bounded, signed, never half written."""

from __future__ import annotations

import hmac
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from ansible_collections.btmm.fleet.plugins.module_utils import json_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dns.message import Message

    from .config import Config

_LOGGER = logging.getLogger(__name__)

FILE = "last_known.json"
MAX_SETS = 4096  # of 256 hosts with a dozen RRsets each, and what is asked besides
MAX_EMPTY = 1024  # of these, with nothing in them: what any program may ask for displaces no more
MAX_TEXT = 1 << 20  # octets of names and rdata; a file of twice that holds it with all marks and escapes
MAX_OCTETS = 2 * MAX_TEXT
MAX_AGE_S = 30 * 86400
TTL_S = 5  # what is answered from here is asked again soon
_VERSION = 1
_KEPT = frozenset(getattr(dns.rdatatype, kind) for kind in ("A", "AAAA", "PTR", "SRV", "TXT", "SOA"))
# That there is nothing is remembered of what browsers ask, not of addresses: any mistyped name would fill the table,
# and any packet to an address that nobody has (`demand` asks whose it is).
_KEPT_EMPTY = frozenset((dns.rdatatype.PTR, dns.rdatatype.SRV, dns.rdatatype.TXT))
_INFO = b"btmm.fleet last known answers"

_Key = tuple[str, int]


def hkdf(secret: bytes, info: bytes) -> bytes:
    """Return a key of 32 octets derived from a secret, without a salt (RFC 5869 sections 2.2 and 2.3, SHA-256)."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def canonical(value: object) -> bytes:
    """Return the one JSON text of a value without fractions: sorted, without blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class LastKnown:
    """RRsets by name and type, the one that was seen longest ago first."""

    def __init__(self, config: Config, state_dir: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = state_dir / FILE
        self._identity = {"host": config.host_name.to_text(), "version": _VERSION}
        self._reverse_zone = config.reverse_zone
        self._key = hkdf(config.key.secret, _INFO)
        self._clock = clock
        self._sets: dict[_Key, tuple[int, list[str]]] = {}  # when it was seen, rdata as text
        self._names: dict[str, int] = {}  # how many sets a name has
        self._empty: dict[_Key, None] = {}  # those without rdata, in the same order
        self._octets = 0
        self.changed = False

    def __len__(self) -> int:
        return len(self._sets)

    def load(self) -> None:
        """Read the table; one that is damaged, too old or not signed by this host's key is left alone, and told."""
        try:
            if self._path.stat().st_size > MAX_OCTETS:
                raise ValueError(f"it has more than {MAX_OCTETS} octets")
            stored = json.loads(self._path.read_bytes())
            self._accept(stored)
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as err:
            _LOGGER.warning("%s is ignored (%s): it is made anew", self._path, err)

    def _accept(self, stored: dict[str, Any]) -> None:
        table = stored["table"]
        if not hmac.compare_digest(bytes.fromhex(stored["signature"]), self._sign(table)):
            raise ValueError("its signature is not by this host's key")
        if any(table[key] != value for key, value in self._identity.items()):
            raise ValueError("it is another host's, or another version's")
        oldest = self._clock() - MAX_AGE_S
        if table["written"] < oldest:
            raise ValueError("it is more than 30 days old")
        for name, rdtype, seen, texts in table["sets"][-MAX_SETS:]:
            if seen >= oldest:
                self._put((name, rdtype), seen, texts)

    def save(self) -> None:
        """Write the table if anything is new in it; a full disk is logged."""
        if not self.changed:
            return
        self.changed = False
        sets = [[name, rdtype, seen, texts] for (name, rdtype), (seen, texts) in self._sets.items()]
        table = {**self._identity, "written": int(self._clock()), "sets": sets}
        json_files.write(self._path, {"signature": self._sign(table).hex(), "table": table})

    def learn(self, answer: Message) -> None:
        """Remember a verified answer, or that there is nothing any more."""
        question = answer.question[0]
        if question.rdtype not in _KEPT or answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            return
        key = (_text(question.name), int(question.rdtype))
        texts = [
            rdata.to_text()
            for rrset in answer.answer
            if rrset.name == question.name and rrset.rdtype == question.rdtype
            for rdata in rrset
        ]
        before = self._drop(key)
        if texts or (question.rdtype in _KEPT_EMPTY and not question.name.is_subdomain(self._reverse_zone)):
            texts.sort()  # a server may turn them round with every answer
            self._put(key, int(self._clock()), texts)
        if (before or (0, []))[1] != texts:
            self.changed = True

    def refreshed(self) -> None:
        """Have the times in which sets were seen written, too; called rarely."""
        self.changed = bool(self._sets)

    def answer(self, query: Message) -> Message | None:
        """Return what the zone last said; None when nothing is known of the name.

        Of a known name, a type that is not known does not exist: asked for both kinds of address, a resolver takes a
        failure of one as a failure of both.
        """
        question = query.question[0]
        name = _text(question.name)
        if name not in self._names:
            return None
        answer = dns.message.make_response(query)
        _, texts = self._sets.get((name, int(question.rdtype)), (0, []))
        if texts:
            try:
                answer.answer.append(
                    dns.rrset.from_text_list(question.name, TTL_S, dns.rdataclass.IN, question.rdtype, texts)
                )
            except dns.exception.DNSException as err:  # signed, but by another version of this
                _LOGGER.warning("the last known %s is not readable: %s", name, err)
                return None
        return answer

    def _put(self, key: _Key, seen: int, texts: list[str]) -> None:
        size = _size(key, texts)
        if size > MAX_TEXT:
            return
        while len(self._sets) >= MAX_SETS or self._octets + size > MAX_TEXT:
            self._drop(next(iter(self._sets)))
        if not texts:
            if len(self._empty) >= MAX_EMPTY:
                self._drop(next(iter(self._empty)))
            self._empty[key] = None
        self._octets += size
        self._sets[key] = (seen, texts)
        self._names[key[0]] = self._names.get(key[0], 0) + 1

    def _drop(self, key: _Key) -> tuple[int, list[str]] | None:
        gone = self._sets.pop(key, None)
        if gone is not None:
            self._empty.pop(key, None)
            self._octets -= _size(key, gone[1])
            self._names[key[0]] -= 1
            if not self._names[key[0]]:
                del self._names[key[0]]
        return gone

    def _sign(self, table: object) -> bytes:
        return hmac.digest(self._key, canonical(table), "sha256")


def _text(name: dns.name.Name) -> str:
    return name.canonicalize().to_text()


def _size(key: _Key, texts: list[str]) -> int:
    return len(key[0]) + sum(map(len, texts))
