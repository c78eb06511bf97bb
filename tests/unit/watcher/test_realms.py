# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers' realms: what is proved gets into a file, what is forged changes nothing, who leaves is forgotten."""

from __future__ import annotations

import asyncio
import base64
import errno
import sys
from asyncio.subprocess import PIPE, Process
from typing import TYPE_CHECKING, Any

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import x509
from cryptography import x509 as cx509
from dns.rdatatype import RdataType

from tests.certificates import Certificate, Owner
from watcher import realm_judge
from watcher import realms as realms_module
from watcher.errors import ZoneServerError
from watcher.realm_check import refusal
from watcher.realm_files import RealmFiles
from watcher.realm_judge import MAX_CERTIFICATE, Judge
from watcher.realms import Realms

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from dns.message import Message

    from watcher.config import Config

ZONE = "bob.members.example"
UNDERSCORED = "bob_members_example"  # Heimdal reads no file with another dot than that of ".conf"
R1, R2 = (f"LKDC:SHA1.{digit * 40}" for digit in "12")
PATIENCE_S = 30.0


def der(certificate: Certificate) -> bytes:
    return x509.to_der(cx509.load_pem_x509_certificate(certificate.certificate.read_bytes()))


class Zone:
    """Sets of records by name and type; a change is told of sets that are followed."""

    def __init__(self) -> None:
        self.sets: dict[tuple[str, str], list[str]] = {}
        self.followed: AbstractSet[Any] = frozenset()
        self.down = False

    async def async_exchange(self, message: Message) -> Message:
        if self.down:
            raise ZoneServerError("away")
        question = message.question[0]
        answer = dns.message.make_response(message)
        kind = dns.rdatatype.to_text(question.rdtype)
        if texts := self.sets.get((question.name.to_text().lower(), kind)):
            answer.answer.append(dns.rrset.from_text_list(question.name, 120, "IN", kind, texts))
        return answer

    def offer(self, label: str, kind: str = "_ssh._tcp") -> None:
        self.add("_services._dns-sd._udp", "PTR", f"{kind}.{ZONE}.")
        self.add(kind, "PTR", f"{label}\\032of\\032bob.{kind}.{ZONE}.")
        self.sets[f"{label}\\032of\\032bob.{kind}.{ZONE}.", "SRV"] = [f"0 0 22 {label}.{ZONE}."]

    def add(self, name: str, kind: str, text: str) -> None:
        held = self.sets.setdefault((f"{name}.{ZONE}.", kind), [])
        if text not in held:
            held.append(text)

    def tell(self, label: str, realm: str, certificate: bytes) -> None:
        self.sets[f"_kerberos.{label}.{ZONE}.", "TXT"] = [f'"{realm}"']
        self.sets[f"_kerberos.{label}.{ZONE}.", "CERT"] = [f"PKIX 0 0 {base64.b64encode(certificate).decode()}"]


class Watched:
    """The part under test, its zone and its folder."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.zone, self.folder = Zone(), folder
        self.known: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.realms = Realms(
            config, self.zone, RealmFiles(config, folder), folder / "crl.pem", self._follow, self._told
        )

    def _follow(self, sets: AbstractSet[Any]) -> None:
        self.zone.followed = sets

    def _told(self, known: dict[str, str], refused: dict[str, str]) -> None:
        self.known, self.refused = known, refused

    async def async_change(self, name: str, kind: str) -> None:
        """Tell of a change as Push does: of what is followed."""
        at = (dns.name.from_text(name, dns.name.from_text(ZONE)), RdataType.from_text(kind))
        await self.async_until(lambda: at in self.zone.followed)
        self.realms.changed(*at)

    def file(self, label: str) -> str:
        path = self.folder / f"btmm-{UNDERSCORED}-{label}.conf"
        return path.read_text() if path.exists() else ""

    async def async_until(self, what: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not what():  # noqa: ASYNC110 - what is waited for is in files, too
                await asyncio.sleep(0.01)


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path)


@pytest.fixture
async def watched(config: Config, owner: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(realms_module, "SETTLE_S", 0.01)
    monkeypatch.setattr(realms_module, "AGAIN_S", 0.05)
    owner.ca.rename(config.ca)
    (tmp_path / "krb5").mkdir()
    found = Watched(config, tmp_path / "krb5")
    found.zone.offer("imac")
    found.zone.tell("imac", R1, der(owner.kdc("imac", R1)))
    yield found
    await found.realms.async_stop()


async def test_a_proved_realm_is_written_and_followed(watched: Watched, config: Config) -> None:
    watched.realms.start()
    await watched.async_until(lambda: watched.known == {"imac": R1})
    text = watched.file("imac")
    assert f"    {R1} = {{\n        kdc = imac.{ZONE}\n        pkinit_anchors = FILE:{config.ca}\n    }}\n" in text
    assert f"    imac.{ZONE} = {R1}\n" in text
    assert watched.refused == {}


async def test_a_host_that_comes_changes_and_leaves_is_followed(watched: Watched, owner: Owner) -> None:
    watched.realms.start()
    await watched.async_until(lambda: watched.known == {"imac": R1})
    watched.zone.offer("mini", "_http._tcp")
    watched.zone.tell("mini", R2, der(owner.kdc("mini", R2)))
    await watched.async_change("_services._dns-sd._udp", "PTR")
    await watched.async_until(lambda: R2 in watched.file("mini"))
    watched.zone.tell("mini", R1, der(owner.kdc("mini", R1)))
    await watched.async_change("_kerberos.mini", "CERT")
    await watched.async_until(lambda: R1 in watched.file("mini"))
    watched.zone.sets.pop((f"_http._tcp.{ZONE}.", "PTR"))
    await watched.async_change("_http._tcp", "PTR")
    await watched.async_until(lambda: not watched.file("mini"))
    assert watched.file("imac")


async def test_what_is_forged_changes_nothing(watched: Watched, owner: Owner) -> None:
    watched.realms.start()
    await watched.async_until(lambda: watched.known == {"imac": R1})
    before = watched.file("imac")
    (stranger := owner.directory / "stranger").mkdir()
    forged = {
        f"for krbtgt/{R1}@{R1}, not for {R2}": (R2, der(owner.kdc("imac", R1))),
        f"not the owner's word for imac.{ZONE} (": (R2, der(owner.kdc("mini", R2))),
        "for no KDC": (R2, der(owner.host("imac"))),
        "(unable to get local issuer certificate": (R2, der(Owner(stranger).kdc("imac", R2))),
        "no realm of a host": ("EXAMPLE.ORG", der(owner.kdc("imac", R1))),
        "more than": (R2, bytes(MAX_CERTIFICATE + 1)),
        "not the owner's word": (R2, b"\xff" * 100),
    }
    for reason, (realm, certificate) in forged.items():
        watched.zone.tell("imac", realm, certificate)
        await watched.async_change("_kerberos.imac", "CERT")
        await watched.async_until(lambda reason=reason: reason in watched.refused.get("imac", ""))
        assert watched.file("imac") == before
    watched.zone.tell("imac", R1, der(owner.kdc("imac", R1)))
    await watched.async_change("_kerberos.imac", "CERT")
    await watched.async_until(lambda: not watched.refused)


async def test_nobody_is_forgotten_while_the_zone_is_away(watched: Watched) -> None:
    watched.realms.start()
    await watched.async_until(lambda: watched.known == {"imac": R1})
    watched.zone.down = True
    await watched.async_change("_services._dns-sd._udp", "PTR")
    await asyncio.sleep(0.2)
    assert watched.file("imac")
    watched.zone.sets.clear()
    watched.zone.down = False
    await watched.async_until(lambda: not watched.file("imac"))


async def test_files_of_before_are_judged_anew_and_strangers_are_left_alone(watched: Watched) -> None:
    kept = ["btmm.conf", f"btmm-{UNDERSCORED}-macbook.conf", f"btmm-{UNDERSCORED}_org-imac.conf", "other.conf"]
    for name in [*kept, f"btmm-{UNDERSCORED}-gone.conf"]:
        (watched.folder / name).write_text("before")
    watched.realms.start()
    await watched.async_until(lambda: watched.known == {"imac": R1} and not watched.file("gone"))
    assert [(watched.folder / name).read_text() for name in kept] == ["before"] * 4


async def test_who_offers_nothing_is_found_by_a_tunnel(watched: Watched, owner: Owner) -> None:
    watched.realms.start()
    await watched.async_until(lambda: watched.known == {"imac": R1})
    watched.zone.tell("mini", R2, der(owner.kdc("mini", R2)))
    watched.realms.met(frozenset({"mini"}))
    await watched.async_until(lambda: R2 in watched.file("mini"))


async def test_what_only_failed_to_be_judged_is_judged_again(
    watched: Watched, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zone has no other certificate then, and says nothing."""
    right = Judge.async_refusal
    answers = ["what judges it does not work (TimeoutError)", "certificate is not yet valid"]

    async def async_refusal(judge: Judge, *asked: Any) -> str | None:
        return answers.pop() if answers else await right(judge, *asked)

    monkeypatch.setattr(realms_module, "DOUBT_S", 0.1)
    monkeypatch.setattr(Judge, "async_refusal", async_refusal)
    watched.realms.start()
    await watched.async_until(lambda: watched.refused)
    await watched.async_until(lambda: watched.known == {"imac": R1} and not watched.refused)


async def test_a_file_that_cannot_be_written_holds_up_no_other_and_is_tried_again(
    watched: Watched, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = RealmFiles.put
    full = {"imac"}

    def put(files: RealmFiles, label: str, realm: str) -> bool:
        if label in full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return right(files, label, realm)

    watched.zone.offer("mini")
    watched.zone.tell("mini", R2, der(owner.kdc("mini", R2)))
    monkeypatch.setattr(realms_module, "DOUBT_S", 0.1)
    monkeypatch.setattr(RealmFiles, "put", put)
    watched.realms.start()
    await watched.async_until(lambda: "No space left" in watched.refused.get("imac", ""))
    assert watched.known == {"mini": R2}
    assert watched.zone.followed
    full.clear()
    await watched.async_until(lambda: watched.known == {"imac": R1, "mini": R2} and not watched.refused)


def test_a_revoked_certificate_proves_nothing(owner: Owner, tmp_path: Path) -> None:
    kdc = owner.kdc("imac", R1)
    for revoked in (tmp_path / "nowhere.pem", owner.crl):
        assert refusal(der(kdc), f"imac.{ZONE}", R1, str(owner.ca), str(revoked)) is None
    owner.revoke(kdc)
    reason = refusal(der(kdc), f"imac.{ZONE}", R1, str(owner.ca), str(owner.crl))
    assert reason is not None
    assert "certificate revoked" in reason


async def test_a_judge_that_does_not_work_believes_nothing(owner: Owner, tmp_path: Path) -> None:
    async with Judge(tmp_path / "missing.pem", tmp_path / "crl.pem") as judge:
        reason = await judge.async_refusal(f"imac.{ZONE}", R1, der(owner.kdc("imac", R1)))
    assert reason is not None


# It takes a second to believe imac, and believes nobody else.
SLOW_JUDGE = """
import json, sys, time
for line in sys.stdin:
    slow = json.loads(line)["host"] == "imac"
    time.sleep(slow)
    print(json.dumps({"reason": None if slow else "refused"}), flush=True)
"""


async def test_a_late_answer_is_no_verdict_on_the_next_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def async_spawn(*_: str, limit: int) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", SLOW_JUDGE, stdin=PIPE, stdout=PIPE, limit=limit
        )

    monkeypatch.setattr(realm_judge, "async_spawn", async_spawn)
    async with Judge(tmp_path / "ca.pem", tmp_path / "crl.pem") as judge:
        assert await judge.async_refusal("mini", R1, b"") == "refused"
        with monkeypatch.context() as patch:
            patch.setattr(realm_judge, "_ANSWER_S", 0.1)
            assert await judge.async_refusal("imac", R1, b"") == "what judges it does not work (TimeoutError)"
        assert await judge.async_refusal("mini", R1, b"") == "refused"
