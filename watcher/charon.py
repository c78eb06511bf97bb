# SPDX-License-Identifier: GPL-3.0-or-later
"""Charon's vici socket: what tunnels there are, and the few orders that the watcher gives. All of it blocks."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import bundle, ipsec, ipsec_swanctl
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint

from .errors import TunnelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from ipaddress import IPv6Network

    import vici

    from .config import Config
    from .peers import Peer

SOCKET = "/run/charon.vici"
ANSWER_S = 5.0
_EXCHANGES = ("dh-group", *(f"ake{number}" for number in range(1, 8)))  # RFC 9370 has seven more than the first


@dataclass(frozen=True, slots=True)
class Tunnel:
    """An established tunnel as charon lists it.

    ``ours``: this host called. ``in_s``, ``out_s``: seconds since the last packet, infinite before the first.
    ``age_s``: since the IKE SA was made. All have a resolution of a second.
    ``exchanges``: the algorithms whose secrets went into its keys, in their order, as charon calls them.
    """

    number: int
    connection: str
    ours: bool
    identity: str
    address: str
    remote: Endpoint
    in_s: float
    out_s: float
    age_s: float
    exchanges: tuple[str, ...]

    @property
    def key_exchange(self) -> str:
        """The same for people, as "x25519 + ML-KEM-768"."""
        return " + ".join(ipsec.exchange_title(name) for name in self.exchanges)

    @property
    def post_quantum(self) -> bool:
        """Whether what it carried stays secret when somebody has a quantum computer."""
        return ipsec.ML_KEM.algorithm in self.exchanges


@contextlib.contextmanager
def session(timeout_s: float | None = ANSWER_S) -> Iterator[vici.Session]:
    """A vici session of its own for every task: a session answers one request at a time.

    Raises:
        TunnelError: charon is away or does not answer within `timeout_s` seconds.
    """
    import vici  # noqa: PLC0415 - only needed once there is a peer

    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.settimeout(timeout_s)
            sock.connect(SOCKET)
            yield vici.Session(sock)
        except OSError as err:
            raise TunnelError(f"charon does not answer at {SOCKET} ({err}): start the service strongswan") from err


def is_away() -> bool:
    """Tell whether there is no charon, as opposed to one that does not answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.settimeout(ANSWER_S)
            sock.connect(SOCKET)
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        except OSError:
            return False
    return False


def algorithms(charon: vici.Session) -> frozenset[str]:
    """Return the names of what charon can do. Not remembered: it may be another one after its next start."""
    return frozenset(name for kind in charon.get_algorithms().values() for name in kind)


def established(charon: vici.Session, prefix: IPv6Network) -> list[Tunnel]:
    """Return the tunnels that carry traffic to hosts with an address in `prefix`: charon serves other zones, too."""
    return [tunnel for tunnel in _established(charon) if _is_in(tunnel.address, prefix)]


def to_peer(tunnels: Iterable[Tunnel], peer: Peer) -> list[Tunnel]:
    """Return those of the tunnels that lead to a peer."""
    return [t for t in tunnels if t.identity == peer.identity and t.address == str(peer.ula)]


def call(charon: vici.Session, config: Config, peer: Peer, at: Endpoint, timeout_s: float, *, again: bool) -> None:
    """Make a new IKE SA to a peer, whatever others there are (`reuse_ikesa = no` in the tunnel role's settings).

    ``again``: have the peer drop, by INITIAL_CONTACT, what tunnels it has to us. A first call must not: when both ends
    call at once, each would drop what the other has just made.

    Raises:
        TunnelError: nobody answers there within `timeout_s` seconds, or one side refuses.
    """
    name = f"peer-{peer.identity}"  # a label alone may be in several zones of this host
    # On initiators "no" means to send INITIAL_CONTACT when no other SA is there, and "never" not to.
    told = connection(config, name, peer, at, algorithms(charon))
    timeout = str(round(timeout_s * 1000))
    try:
        charon.load_conn({name: {**told, "unique": "no" if again else "never"}})
        _run(charon.initiate({"ike": name, "child": name, "timeout": timeout, "loglevel": "-1"}))
    except _command_error() as err:
        # Charon would go on trying after its answer, and a second attempt would run beside the first.
        for number in attempts(charon, name):
            forget(charon, number)
        raise TunnelError(
            f"no tunnel to {peer.identity} at {at} ({err}): see 'journalctl -u strongswan' here and there"
        ) from err
    finally:
        # Else charon might take the peer's next call by it, too, with what is meant for ours. The SA stays.
        with contextlib.suppress(_command_error()):
            charon.unload_conn({"name": name})


def attempts(charon: vici.Session, end: str) -> list[int]:
    """Return the calls of ours that nobody has answered yet, to peers whose name ends so."""
    return [
        int(sa["uniqueid"])
        for entry in list(charon.list_sas())
        for connection_name, sa in entry.items()
        if sa.get("state") == b"CONNECTING"
        and sa.get("initiator") == b"yes"
        and connection_name.startswith("peer-")
        and connection_name.endswith(end)
    ]


def identities(charon: vici.Session, end: str) -> list[tuple[int, str]]:
    """Return number and peer's name of every IKE SA, whoever called, with a peer whose name ends so."""
    found = [
        (int(sa["uniqueid"]), sa.get("remote-id", b"").decode(errors="replace"))
        for entry in list(charon.list_sas())
        for sa in entry.values()
    ]
    return [(number, identity) for number, identity in found if identity.endswith(end)]


def forget(charon: vici.Session, number: int) -> None:
    """Drop an IKE SA without waiting for the other end, which is told if it still hears us (`timeout` -1)."""
    with contextlib.suppress(_command_error()):
        _run(charon.terminate({"ike-id": str(number), "force": "yes", "timeout": "-1", "loglevel": "-1"}))


def connection(
    config: Config, name: str, peer: Peer, at: Endpoint, able: Collection[str]
) -> dict[str, ipsec_swanctl.Value]:
    """Return what charon, which is `able` to do these algorithms, is told of a peer.

    Raises:
        TunnelError: the host's certificate is missing, or the zone says of the peer what can't be.
    """
    try:
        certificate = config.certificate.read_bytes()
        authorities = [each.encode() for each in bundle.split(config.ca.read_text(encoding="ascii", errors="replace"))]
    except OSError as err:
        raise TunnelError(f"{err.filename} can't be read ({err.strerror}): run the identity role again") from err
    try:
        local = ipsec.Local(config.host_name.to_text(omit_final_dot=True), config.host.ula, config.prefix)
        remote = ipsec.Remote(peer.identity, peer.ula, at.address, at.port)
        tunnel = ipsec.outbound(local, remote, algorithms=able)
        tunnel = replace(tunnel, revocation="strict")
    except ipsec.InvalidTunnel as err:
        raise TunnelError(str(err)) from err
    return ipsec_swanctl.connection(name, tunnel, certificate, *authorities)


def _is_in(selector: str, prefix: IPv6Network) -> bool:
    try:
        return IPv6Address(selector) in prefix
    except ValueError:  # another program's tunnel, to a network or an IPv4 address
        return False


def _command_error() -> type[Exception]:
    from vici.exception import CommandException  # noqa: PLC0415

    error: type[Exception] = CommandException
    return error


def _run(events: Iterator[object]) -> None:
    for _ in events:
        pass


def _established(charon: vici.Session) -> Iterator[Tunnel]:
    for entry in list(charon.list_sas()):
        for name, sa in entry.items():
            if sa.get("state") != b"ESTABLISHED":
                continue
            # An IPv6 peer's address may bear its link; the port is a number.
            address = sa.get("remote-host", b"").decode().partition("%")[0]
            remote = Endpoint(ip_address(address), int(sa.get("remote-port", b"0")))
            for child in sa.get("child-sas", {}).values():
                if child.get("state") != b"INSTALLED":
                    continue
                for selector in child.get("remote-ts", ()):
                    yield Tunnel(
                        number=int(sa["uniqueid"]),
                        connection=name,
                        # The connection's name does not tell: charon may take a call by any that fits the caller.
                        ours=sa.get("initiator") == b"yes",
                        identity=sa.get("remote-id", b"").decode(errors="replace"),
                        address=selector.decode().removesuffix("/128"),
                        remote=remote,
                        in_s=float(child.get("use-in", b"inf")),
                        out_s=float(child.get("use-out", b"inf")),
                        age_s=float(sa.get("established", b"0")),
                        exchanges=_exchanges(sa),
                    )


def _exchanges(sa: Mapping[str, bytes]) -> tuple[str, ...]:
    return tuple(sa[key].decode() for key in _EXCHANGES if key in sa)
