# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps what this host's Kerberos clients know of peers' realms true to the zone, which alone is believed nothing.

Which hosts there are follows from what they offer, and from tunnels; a change in the zone is followed as it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import background, names
from ansible_collections.btmm.fleet.plugins.module_utils.krb5_names import is_local
from ansible_collections.btmm.fleet.plugins.module_utils.update import UpdateError
from dns.rdatatype import RdataType

from .errors import WatcherError
from .lookup import async_lookup
from .realm_judge import Judge

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from dns.name import Name

    from .config import Config
    from .follow import RRsetName
    from .peers import Asker
    from .realm_files import RealmFiles

_LOGGER = logging.getLogger(__name__)

SETTLE_S = 0.3  # a host publishes several sets in one message, and they are told one by one
CONFIRM_S = 5.0  # then what was asked before it was followed is asked once more: it may have changed in between
AGAIN_S = 30.0  # while the zone does not answer
# After that who was refused is judged anew: the fault may have been here, as a clock not set yet or a full disk.
DOUBT_S = 300.0
DAY_S = 86400.0  # then all is looked at anew: certificates end, too
MAX_HOSTS = 256
_MOST = 4  # certificates of one host: one, and two while the owner's CA is replaced


class Realms:
    """The peers' realms.

    Args:
        config: this host's zone.
        asker: asks the zone.
        files: where they are written to.
        revoked: the owner CA's revocation list; need not exist.
        follow: is given all sets of which changes are wanted.
        told: is given the realms by label, and for others the reason why not.
    """

    def __init__(
        self,
        config: Config,
        asker: Asker,
        files: RealmFiles,
        revoked: Path,
        follow: Callable[[AbstractSet[RRsetName]], None],
        told: Callable[[dict[str, str], dict[str, str]], object],
    ) -> None:
        self._config = config
        self._asker = asker
        self._files = files
        self._follow = follow
        self._told = told
        self._revoked = revoked
        self._kinds: set[Name] = set()
        self._instances: dict[Name, dict[Name, str | None]] = {}  # by type; the host's label, if it is one
        self._met: set[str] = set()
        self._realms: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._seen: dict[str, object] = {}  # what each host was judged by
        self._followed: frozenset[RRsetName] = frozenset()
        self._confirming: asyncio.TimerHandle | None = None
        self._doubting: asyncio.TimerHandle | None = None
        self._due = asyncio.Event()
        self._all = True
        self._changed: set[RRsetName] = set()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at the whole zone, then at what changes."""
        self._met = self._files.labels()
        self._due.set()
        self._running = background.start(self._async_run())

    async def async_stop(self) -> None:
        """Leave the files as they are."""
        for timer in (self._confirming, self._doubting):
            if timer is not None:
                timer.cancel()
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    def changed(self, name: Name, rdtype: RdataType) -> None:
        """An RRset of the zone is another one now."""
        if self._running is not None and (name, rdtype) in self._sets():
            self._changed.add((name, rdtype))
            self._due.set()

    def met(self, labels: AbstractSet[str]) -> None:
        """There are tunnels to these peers: a host that offers nothing is found by that alone."""
        if self._running is not None and not labels <= self._labels():
            self._met |= labels
            self._changed |= {(names.kerberos_name(label, self._config.zone), RdataType.CERT) for label in labels}
            self._due.set()

    async def _async_run(self) -> None:
        loop = asyncio.get_running_loop()
        tomorrow = loop.time() + DAY_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(tomorrow):
                    await self._due.wait()
            if loop.time() >= tomorrow:
                self._all, tomorrow = True, loop.time() + DAY_S
            await asyncio.sleep(SETTLE_S)
            self._due.clear()
            changed, self._changed = self._changed, set()
            try:
                await self._async_look(changed)
            except (WatcherError, UpdateError, OSError) as err:
                _LOGGER.info("realms of peers stay as they are: %s", err)
                self._changed |= changed
                self._due.set()
                await asyncio.sleep(AGAIN_S)
            self._told(dict(self._realms), dict(self._refused))

    async def _async_look(self, changed: set[RRsetName]) -> None:
        """Find the hosts that there are now, and judge those of which anything is new."""
        zone, root = self._config.zone, names.enumeration_name(self._config.zone)
        if self._all:
            self._instances.clear()
            self._seen.clear()
        if self._all or (root, RdataType.PTR) in changed:
            self._kinds = {each for each in await self._async_targets(root) if each.is_subdomain(zone)}
        self._instances = {kind: found for kind, found in self._instances.items() if kind in self._kinds}
        for kind in self._kinds:
            if kind not in self._instances or (kind, RdataType.PTR) in changed:
                known = self._instances.get(kind, {})
                found = [each for each in await self._async_targets(kind) if each.is_subdomain(kind)]
                self._instances[kind] = {
                    each: known[each] if each in known else await self._async_host(each) for each in found
                }
        labels = self._labels()
        again = {label for label in labels if (names.kerberos_name(label, zone), RdataType.CERT) in changed}
        async with Judge(self._config.ca, self._revoked) as judge:
            for label in sorted(again | (labels - self._seen.keys())):
                await self._async_one(label, judge)
        for label in (self._seen.keys() | self._files.labels()) - labels:
            self._forget(label)
        self._all = False
        self._follow_all()
        if self._refused and self._doubting is None:
            self._doubting = asyncio.get_running_loop().call_later(DOUBT_S, self._doubt)

    def _follow_all(self) -> None:
        before, self._followed = self._followed, self._sets()
        self._follow(self._followed)
        if not self._followed <= before and self._confirming is None:
            self._confirming = asyncio.get_running_loop().call_later(CONFIRM_S, self._confirm)

    def _confirm(self) -> None:
        self._confirming = None
        self._changed |= self._followed
        self._due.set()

    def _doubt(self) -> None:
        self._doubting = None
        for label in self._refused:
            self._seen.pop(label, None)
        self._due.set()

    async def _async_one(self, label: str, judge: Judge) -> None:
        """Write, keep or remove one peer's file."""
        name = names.kerberos_name(label, self._config.zone)
        texts, certificates = [await async_lookup(self._asker, name, kind) for kind in (RdataType.TXT, RdataType.CERT)]
        told = [b"".join(text.strings).decode(errors="replace") for text in texts]
        judged_by = (tuple(told), tuple(each.certificate for each in certificates))
        if self._seen.get(label) == judged_by:
            return
        if not told and not certificates:
            self._forget(label)
            self._seen[label] = judged_by
            return
        host = names.host_name(label, self._config.zone).to_text(omit_final_dot=True)
        reason: str | None = "its TXT is no realm of a host" if told else "it has no TXT"
        if len(told) == 1 and is_local(told[0]):
            reason = "it has no certificate"
            for certificate in certificates[:_MOST]:
                reason = await judge.async_refusal(host, told[0], certificate.certificate)
                if reason is None:
                    break
        if reason is None:
            reason = self._write(label, told[0])
        self._seen[label] = judged_by
        if reason is not None:
            # What was proved before stays: a forged record shall neither move a client nor stop it.
            if self._refused.get(label) != reason:
                _LOGGER.warning("the realm that the zone has for %s is not taken: %s", host, reason)
            self._refused[label] = reason
            return
        self._refused.pop(label, None)
        self._realms[label] = told[0]

    def _write(self, label: str, realm: str) -> str | None:
        """Write one peer's file; return why that can't be done, which keeps no other peer waiting."""
        try:
            if self._files.put(label, realm):
                _LOGGER.info("%s has the realm %s", label, realm)
        except OSError as err:
            return f"its file can't be written ({err})"
        return None

    def _forget(self, label: str) -> None:
        self._realms.pop(label, None)
        self._refused.pop(label, None)
        self._seen.pop(label, None)
        self._met.discard(label)
        if self._files.drop(label):
            _LOGGER.info("%s has no realm any more", label)

    def _labels(self) -> set[str]:
        offering = {label for found in self._instances.values() for label in found.values() if label}
        return set(sorted((offering | self._met) - {self._config.host.label})[:MAX_HOSTS])

    def _sets(self) -> frozenset[RRsetName]:
        """What tells of hosts that come or go, and of realms that change."""
        zone = self._config.zone
        pointers = {(name, RdataType.PTR) for name in (names.enumeration_name(zone), *self._kinds)}
        return frozenset(pointers | {(names.kerberos_name(each, zone), RdataType.CERT) for each in self._labels()})

    async def _async_targets(self, name: Name) -> list[Name]:
        return [pointer.target for pointer in await async_lookup(self._asker, name, RdataType.PTR)]

    async def _async_host(self, instance: Name) -> str | None:
        """Return the label of the host that offers an instance."""
        for location in await async_lookup(self._asker, instance, RdataType.SRV):
            if len(location.target) > 1 and location.target.parent() == self._config.zone:
                with contextlib.suppress(names.InvalidName):
                    return names.check_label(location.target.labels[0].decode(errors="replace").lower())
        return None
