# SPDX-License-Identifier: GPL-3.0-or-later
"""A mapping from a gateway that speaks PCP or NAT-PMP, and its deletion."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ansible_collections.btmm.fleet.plugins.module_utils import natpmp, pcp
from ansible_collections.btmm.fleet.plugins.module_utils.records import Endpoint

from ..errors import CarrierNatError, DoubleNatError, PortMapError
from .mapping import LIFETIME_S, TUNNEL_PORT, Grant, check_outer

if TYPE_CHECKING:
    from .gateway import Gateway
    from .mapping import Method
    from .store import Memory


async def async_map(gateway: Gateway, own: IPv4Address, memory: Memory) -> Grant:
    """Ask for a mapping of UDP 4500: PCP first, NAT-PMP when the gateway speaks only that.

    Raises:
        SilentGatewayError: it speaks neither.
        PortMapError: it refuses, or stands itself behind a NAT.
    """
    nonce = bytes.fromhex(memory.nonce)

    def parse(data: bytes) -> pcp.MapReply | natpmp.AddressReply:
        if data[:2] == natpmp.ADDRESS_REPLY:
            return natpmp.parse_address_reply(data)
        return pcp.parse_map_reply(data, nonce, TUNNEL_PORT)

    try:
        # A gateway that knows only NAT-PMP should refuse version 2, but some drop what they don't know: so from the
        # second time on it is asked in NAT-PMP, too, and what is answered first is what it speaks.
        reply = await gateway.async_ask(
            pcp.map_request(own, nonce, TUNNEL_PORT, memory.port, LIFETIME_S),
            parse,
            beside=natpmp.address_request(),
        )
    except (pcp.UnsupportedVersion, natpmp.RefusedError):
        return await _async_nat_pmp(gateway, memory)
    except pcp.RefusedError as err:
        return await _async_refused(gateway, own, memory, err)
    if isinstance(reply, natpmp.AddressReply):
        return await _async_nat_pmp(gateway, memory, reply)
    outer = reply.external
    if not isinstance(outer, IPv4Address):
        raise PortMapError(f"the gateway {gateway.address} granted {outer} for an IPv4 address: switch its NAT64 off")
    try:
        check_outer(gateway.address, outer)
    except PortMapError:
        # Only the mapping tells the address; it leads nowhere, so it should not stay.
        with contextlib.suppress(PortMapError):
            await async_delete(gateway, own, memory, "pcp")
        raise
    _check_grant(gateway, reply.external_port, reply.lifetime_s)
    return Grant("pcp", Endpoint(outer, reply.external_port), reply.lifetime_s, reply.epoch_s)


async def async_delete(gateway: Gateway, own: IPv4Address, memory: Memory, method: Method) -> None:
    """Delete the mapping (RFC 6887 section 15, RFC 6886 section 3.4).

    Raises:
        PortMapError: it is still there, until its lease ends.
    """
    nonce = bytes.fromhex(memory.nonce)
    try:
        if method == "pcp":
            try:
                await gateway.async_ask(
                    pcp.map_request(own, nonce, TUNNEL_PORT, 0, 0),
                    lambda data: pcp.parse_map_reply(data, nonce, TUNNEL_PORT),
                    sends=2,
                )
            except pcp.RefusedError as err:
                # miniupnpd lets PCP renew what NAT-PMP made, but not delete it.
                if err.result != pcp.Result.NOT_AUTHORIZED:
                    raise
            else:
                return
        await gateway.async_ask(
            natpmp.map_request(TUNNEL_PORT, 0, 0), lambda data: natpmp.parse_map_reply(data, TUNNEL_PORT), sends=2
        )
    except (natpmp.RefusedError, pcp.RefusedError) as err:
        raise _refused(gateway, err) from err


async def _async_refused(gateway: Gateway, own: IPv4Address, memory: Memory, err: pcp.RefusedError) -> Grant:
    """Say why PCP refused, or try NAT-PMP where that may be allowed more."""
    if err.result == pcp.Result.ADDRESS_MISMATCH:
        raise DoubleNatError(
            f"the gateway {gateway.address} sees another address than {own} (PCP ADDRESS_MISMATCH), so another NAT"
            " stands between: put it in bridge mode",
            err.lifetime_s,
        ) from err
    if err.result == pcp.Result.NETWORK_FAILURE:
        raise _no_uplink(gateway, err, err.lifetime_s) from err
    try:
        return await _async_nat_pmp(gateway, memory)
    except (DoubleNatError, CarrierNatError):
        raise
    except PortMapError:
        raise _refused(gateway, err, err.lifetime_s) from err  # it says more than NAT-PMP can


async def _async_nat_pmp(gateway: Gateway, memory: Memory, address: natpmp.AddressReply | None = None) -> Grant:
    try:
        if address is None:
            address = await gateway.async_ask(natpmp.address_request(), _parse_address)
        check_outer(gateway.address, address.address)
        # The granted port is suggested again, so that a renewal after the gateway's reboot keeps it (section 3.3).
        reply = await gateway.async_ask(natpmp.map_request(TUNNEL_PORT, memory.port, LIFETIME_S), _parse_map)
    except natpmp.RefusedError as err:
        if err.result == natpmp.Result.NETWORK_FAILURE:
            raise _no_uplink(gateway, err) from err
        raise _refused(gateway, err) from err
    _check_grant(gateway, reply.external_port, reply.lifetime_s)
    return Grant("nat-pmp", Endpoint(address.address, reply.external_port), reply.lifetime_s, reply.epoch_s)


def _parse_address(data: bytes) -> natpmp.AddressReply:
    _check_late(data)
    return natpmp.parse_address_reply(data)


def _parse_map(data: bytes) -> natpmp.MapReply:
    _check_late(data)
    return natpmp.parse_map_reply(data, TUNNEL_PORT)


def _check_late(data: bytes) -> None:
    """Pass over a late refusal of the PCP question: version 0 can't be refused by version 0."""
    if data[:1] == bytes((natpmp.VERSION,)) and data[2:4] == natpmp.Result.UNSUPPORTED_VERSION.to_bytes(2):
        raise natpmp.NatPmpError("a late answer to PCP")


def _check_grant(gateway: Gateway, port: int, lifetime_s: int) -> None:
    if not port or not lifetime_s:
        raise PortMapError(f"the gateway {gateway.address} granted no mapping for UDP {TUNNEL_PORT}: restart it")


def _no_uplink(gateway: Gateway, err: Exception, retry_after_s: float = 0) -> PortMapError:
    return PortMapError(f"the gateway {gateway.address} has no outer address ({err}): check its uplink", retry_after_s)


def _refused(gateway: Gateway, err: Exception, retry_after_s: float = 0) -> PortMapError:
    return PortMapError(
        f"the gateway {gateway.address} refuses to map UDP {TUNNEL_PORT}: {err}: allow port mapping in its settings",
        retry_after_s,
    )
