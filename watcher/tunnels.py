# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens IPsec tunnels to peers through charon's vici socket, one per peer, only when there is none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from .errors import TunnelError
from .portmap.mapping import TUNNEL_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import vici
    from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint

    from .config import Config

_LOGGER = logging.getLogger(__name__)

VICI_SOCKET = "/run/charon.vici"
DPD_S = 30  # silence after which charon asks a peer that we called whether it lives
_CHARON_RETRY_S = 5.0
SETUP_TIMEOUT_S = 4  # an application waits for its address meanwhile

_IKE_PROPOSALS = ["aes128gcm16-prfsha256-x25519", "aes256gcm16-prfsha384-ecp384"]
_ESP_PROPOSALS = ["aes128gcm16-x25519", "aes256gcm16-ecp384"]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host of the fleet: its label, its name (which its certificate bears), its ULA, where it is outside."""

    label: str
    identity: str
    ula: IPv6Address
    outer: Endpoint | None


@dataclass(frozen=True, slots=True)
class Tunnel:
    """An established tunnel as charon lists it.

    ``ours``: this host called. ``idle_s`` counts from the last packet that came in, or the set-up.
    """

    connection: str
    ours: bool
    identity: str
    address: str
    remote: str
    idle_s: float


class Tunnels:
    """Set-ups run in threads (vici is synchronous); callers that want the same peer share one."""

    def __init__(self, config: Config, changed: Callable[[], None]) -> None:
        self._config = config
        self._changed = changed
        self._running: dict[str, asyncio.Task[str]] = {}
        self._loaded: dict[str, Endpoint] = {}

    async def async_ensure(self, peer: Peer) -> str:
        """Return when the tunnel to `peer` carries traffic, with one word on how: "found" or "opened".

        Raises:
            TunnelError: charon is away, or the peer does not answer or is refused.
        """
        task = self._running.get(peer.label)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._ensure, peer))
            self._running[peer.label] = task
            task.add_done_callback(lambda _: self._running.pop(peer.label, None))
        return await asyncio.shield(task)

    async def async_list(self) -> list[Tunnel]:
        """Return the established tunnels; none when charon is away."""
        try:
            return await asyncio.to_thread(self._list)
        except TunnelError:
            return []

    def start(self) -> None:
        """Call `changed` on the loop now, and whenever charon says that a tunnel came or went."""
        self._listening = True
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, args=(loop,), name="charon events", daemon=True).start()

    def stop(self) -> None:
        """Stop calling `changed`. The tunnels stay: they carry other programs' connections."""
        self._listening = False

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._listening:
            try:
                with _session(timeout_s=None) as session:
                    self._tell(loop)
                    for _ in session.listen(["ike-updown", "child-updown"]):
                        self._tell(loop)
            except TunnelError:
                # Charon is away; the end of its tunnels is news, too.
                self._tell(loop)
                time.sleep(_CHARON_RETRY_S)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._listening:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(self._changed)

    def _list(self) -> list[Tunnel]:
        with _session() as session:
            return [tunnel for tunnel in _established(session) if self._is_ours(tunnel)]

    def _is_ours(self, tunnel: Tunnel) -> bool:
        """Whether it leads to a host of this zone: charon serves all zones of this host."""
        try:
            return IPv6Address(tunnel.address) in self._config.prefix
        except ValueError:  # another program's tunnel, to a network or an IPv4 address
            return False

    def _ensure(self, peer: Peer) -> str:
        name = f"peer-{peer.identity}"  # a label alone may be in several zones of this host
        doubtful = False  # a tunnel that a peer opened before it crashed looks like any other that is idle
        with _session() as session:
            for tunnel in _established(session):
                if tunnel.identity != peer.identity or tunnel.address != str(peer.ula):
                    continue
                if tunnel.ours and not self._is_at(tunnel, peer):
                    _forget(session, name)  # the peer moved
                elif tunnel.ours or tunnel.idle_s <= DPD_S:
                    # Our own is asked for life by charon when idle. One that the peer opened follows it by MOBIKE,
                    # whatever its DNS records say, and speaks for itself while there is traffic.
                    return "found"
                else:
                    doubtful = True
            if peer.outer is None and doubtful:
                return "found"
            if peer.outer is None:
                raise TunnelError(f"{peer.identity} publishes no tunnel endpoint: see 'btmm status' on it")
            try:
                session.load_conn(self._connection(name, peer))
                self._loaded[peer.label] = peer.outer
                timeout = str(SETUP_TIMEOUT_S * 1000)
                _run(session.initiate({"ike": name, "child": name, "timeout": timeout, "loglevel": "-1"}))
            except _command_error() as err:
                # Charon would go on trying after its answer, and a second attempt would run beside the first.
                _forget(session, name)
                if doubtful:
                    return "found"
                raise TunnelError(
                    f"no tunnel to {peer.identity} at {peer.outer.address}:{peer.outer.port} ({err}):"
                    " see 'journalctl -u strongswan' here and there"
                ) from err
        return "opened"

    def _is_at(self, tunnel: Tunnel, peer: Peer) -> bool:
        """Whether our own tunnel leads to where the peer is published.

        What charon was told counts, not the port it sees now: that one changes when the peer's NAT forgets a flow.
        """
        loaded = self._loaded.get(peer.label)
        if loaded is not None and peer.outer is not None:
            return loaded == peer.outer
        return peer.outer is None or tunnel.remote == f"{peer.outer.address}:{peer.outer.port}"

    def _connection(self, name: str, peer: Peer) -> dict[str, Any]:
        if peer.outer is None:
            raise TunnelError(f"{peer.identity} publishes no tunnel endpoint")
        try:
            certificate = self._config.certificate.read_bytes()
            authority = self._config.ca.read_bytes()
        except OSError as err:
            raise TunnelError(f"{err.filename} can't be read ({err.strerror}): run the identity role again") from err
        child = {
            "local_ts": [f"{self._config.host.ula}/128"],
            "remote_ts": [f"{peer.ula}/128"],
            "esp_proposals": _ESP_PROPOSALS,
            "mode": "tunnel",
            "start_action": "none",
            "dpd_action": "clear",
        }
        return {
            name: {
                "version": "2",
                "remote_addrs": [str(peer.outer.address)],
                "remote_port": str(peer.outer.port),
                # From 500 to another port the non-ESP marker would be missing, and the peer would never answer.
                "local_port": str(TUNNEL_PORT),
                "encap": "yes",
                "mobike": "yes",
                "unique": "replace",
                "dpd_delay": f"{DPD_S}s",
                "proposals": _IKE_PROPOSALS,
                "local": {
                    "auth": "pubkey",
                    "certs": [certificate],
                    "id": self._config.host_name.to_text(omit_final_dot=True),
                },
                "remote": {"auth": "pubkey", "cacerts": [authority], "id": peer.identity},
                "children": {name: child},
            }
        }


@contextlib.contextmanager
def _session(timeout_s: float | None = SETUP_TIMEOUT_S + 1) -> Iterator[vici.Session]:
    """A vici session of its own for every task: a session answers one request at a time."""
    import vici  # noqa: PLC0415 - only needed once there is a peer

    with socket.socket(socket.AF_UNIX) as sock:
        try:
            # By default a little more than charon's own bound, for a charon that hangs.
            sock.settimeout(timeout_s)
            sock.connect(VICI_SOCKET)
            yield vici.Session(sock)
        except OSError as err:
            raise TunnelError(f"charon does not answer at {VICI_SOCKET} ({err}): start the service strongswan") from err


def _command_error() -> type[Exception]:
    from vici.exception import CommandException  # noqa: PLC0415

    error: type[Exception] = CommandException
    return error


def _run(events: Iterator[object]) -> None:
    for _ in events:
        pass


def _forget(session: vici.Session, name: str) -> None:
    """Drop the IKE SAs of a connection without a word to the other end, and without waiting (`timeout` -1)."""
    with contextlib.suppress(_command_error()):
        _run(session.terminate({"ike": name, "force": "yes", "timeout": "-1", "loglevel": "-1"}))


def _established(session: vici.Session) -> Iterator[Tunnel]:
    for entry in list(session.list_sas()):
        for connection, sa in entry.items():
            if sa.get("state") != b"ESTABLISHED":
                continue
            # The connection's name does not tell: charon may take a call by any connection that fits the caller.
            ours = sa.get("initiator") == b"yes"
            identity = sa.get("remote-id", b"").decode(errors="replace")
            remote = f"{sa.get('remote-host', b'').decode()}:{sa.get('remote-port', b'').decode()}"
            for child in sa.get("child-sas", {}).values():
                if child.get("state") != b"INSTALLED":
                    continue
                # `use-in` is missing until the first packet.
                idle_s = min(float(child.get(key, b"inf")) for key in ("use-in", "install-time"))
                for selector in child.get("remote-ts", ()):
                    address = selector.decode().removesuffix("/128")
                    yield Tunnel(connection, ours, identity, address, remote, idle_s)
