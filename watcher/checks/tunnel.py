# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard, charon, the certificate and what was revoked, and each live tunnel with packets of 1280 octets."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import ipsec
from ansible_collections.btmm.fleet.plugins.module_utils.local_names import guard_table, inbound_connection

from watcher.charon import algorithms
from watcher.places import REVOKED_ROOT
from watcher.trust import only

from . import Finding, run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from . import Patient

_VICI_SOCKET = "/run/charon.vici"
_CONNECTIONS = Path("/etc/swanctl/conf.d")
_WARN_DAYS = 7  # the role renews earlier; an owner needs time to run it
_ECHO_S = 2.0
_MTU = 1280  # RFC 8200 section 5
_HEADERS = 40 + 8  # IPv6, ICMPv6
_ECHO_REQUEST, _ECHO_REPLY = 128, 129  # RFC 4443 section 4
_MTU_DISCOVER, _PMTUDISC_PROBE = 23, 3  # linux/in6.h: never fragment, never believe a smaller MTU


def check(patient: Patient) -> Iterator[Finding]:
    """Look at what protects and carries the traffic."""
    yield _guard(patient)
    yield _certificate(patient)
    yield _revocation(patient)
    yield from _charon(patient)
    peers = patient.status.get("peers") or []
    for peer in peers:
        yield _peer(patient, str(peer["name"]), str(peer["address"]))
    if not peers:
        yield Finding("tunnels", "none open now: they are opened on demand")


def _guard(patient: Patient) -> Finding:
    table = guard_table(patient.config.zone)
    code, said = run("nft", "list", "table", "inet", table)
    if code:
        fix = f"systemctl restart btmm-guard@{patient.zone}"
        return Finding("guard", f"its table {table} is not loaded: clear text is not stopped", fix)
    if str(patient.config.prefix) not in said:
        fix = f"systemctl restart btmm-guard@{patient.zone}"
        return Finding("guard", f"its table {table} does not name {patient.config.prefix}", fix)
    return Finding("guard", f"{table} keeps {patient.config.prefix} inside IPsec")


def _certificate(patient: Patient) -> Finding:
    path = patient.config.certificate
    fix = "run the identity role for this host"
    code, said = run("openssl", "x509", "-noout", "-enddate", "-in", str(path))
    if code:
        return Finding("certificate", f"{path} can't be read ({said})", fix)
    end = said.partition("=")[2]
    try:
        until = datetime.strptime(end, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    except ValueError:
        return Finding("certificate", f"{path} ends at {end!r}", fix)
    days = (until - datetime.now(UTC)).days
    if days < 0:
        return Finding("certificate", f"{path} ended on {until:%Y-%m-%d}", fix)
    return Finding("certificate", f"{path} is valid for {days} days more", fix if days < _WARN_DAYS else "")


def _revocation(patient: Patient) -> Finding:
    authority, certificate = patient.config.ca, patient.config.certificate
    path = REVOKED_ROOT / authority.name
    command = ["openssl", "verify", "-crl_check", "-CRLfile", str(path), *only(str(authority)), str(certificate)]
    code, said = run(*command)
    if not code:
        return Finding("revocation", f"this host is not on the owner's list {path}")
    if "certificate revoked" in said:
        return Finding(
            "revocation", "this host's certificate was revoked: no host lets it in", "enrol it again: it is told how"
        )
    fix = "run the identity role for this host"
    return Finding("revocation", f"nobody is let in without the owner's list {path} ({said[-100:]})", fix)


def _charon(patient: Patient) -> Iterator[Finding]:
    import vici  # noqa: PLC0415 - its import takes longer than all other checks
    from vici.exception import SessionException  # noqa: PLC0415

    wanted = inbound_connection(patient.config.zone)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_ECHO_S)
            sock.connect(_VICI_SOCKET)
            session = vici.Session(sock)
            version = session.version()["version"].decode()
            loaded = {name.decode() for name in session.get_conns().get("conns", ())}
            able = algorithms(session)
    except (OSError, SessionException) as err:
        yield Finding("charon", f"it does not answer at {_VICI_SOCKET} ({err})", "systemctl restart strongswan")
        return
    if wanted not in loaded:
        fix = "swanctl --load-all, and the tunnel role for this host if that does not help"
        yield Finding("charon", f"it runs without the connection {wanted}: no peer is let in", fix)
    else:
        yield Finding("charon", f"strongSwan {version} lets peers in by {wanted}")
    yield _key_exchange(patient, version, able)


def _key_exchange(patient: Patient, version: str, able: Collection[str]) -> Finding:
    kem, fix = ipsec.ML_KEM, "run the tunnel role for this host"
    has = kem.algorithm in able
    try:
        told = (_CONNECTIONS / f"btmm-{patient.zone}.conf").read_text(encoding="utf-8")
    except OSError:
        told = ""  # that the connection is missing has been said
    if not has and kem.keyword in told:
        # Version 6.0.1 takes the connection, agrees to it with a caller, and ends the call then.
        seen = f"peers that call are promised {kem.title}, which strongSwan {version} here has not: they don't get in"
        return Finding("key exchange", seen, fix)
    if not has:
        # No fault: there may be no package that would mend it.
        return Finding("key exchange", f"strongSwan {version} here has no {kem.title}: no tunnel is post-quantum")
    if f" proposals = {','.join(ipsec.proposals(2, calling=False).ike)}\n" in told:
        return Finding("key exchange", f"peers that call get no {kem.title}, which strongSwan {version} has", fix)
    return Finding("key exchange", f"{kem.title} with peers that have it, too")


def _peer(patient: Patient, name: str, address: str) -> Finding:
    try:
        took_ms = _echo(str(patient.config.host.ula), address)
    except OSError as err:
        fix = "'swanctl --list-sas' here and there; a firewall in between may drop large UDP packets"
        return Finding(f"tunnel to {name}", f"{_MTU} octets do not go through ({err.strerror or err})", fix)
    return Finding(f"tunnel to {name}", f"{_MTU} octets there and back in {took_ms:.1f} ms")


def _echo(source: str, target: str) -> float:
    """Send an echo request that just fits the MTU; return milliseconds until the reply.

    Raises:
        OSError: it is too large for the tunnel, is refused, or no reply comes within 2 s.
    """
    mark = os.urandom(8)
    number = os.getpid() & 0xFFFF
    request = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, number, 1) + mark.ljust(_MTU - _HEADERS, b"\0")
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, _MTU_DISCOVER, _PMTUDISC_PROBE)
        sock.bind((source, 0))
        sock.connect((target, 0))
        started = time.monotonic()
        sock.send(request)  # the kernel fills in the checksum (RFC 3542 section 3.1)
        while (left := started + _ECHO_S - time.monotonic()) > 0:
            sock.settimeout(left)
            with contextlib.suppress(TimeoutError):
                reply = sock.recv(2048)
                if reply[:1] == bytes([_ECHO_REPLY]) and reply[8:16] == mark:
                    return (time.monotonic() - started) * 1000
    raise TimeoutError("no reply within 2 s")
