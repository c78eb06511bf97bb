# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner's names: what is a zone, a host label, a service type, and which name each record of a host has.

The table in docs/architecture.md ("Names") is the specification. Every function returns an absolute
`dns.name.Name` or raises `InvalidName` with one sentence that says what is wrong and how to mend it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import dns.exception
import dns.name
import dns.reversename

if TYPE_CHECKING:
    from ipaddress import IPv6Address, IPv6Network

# RFC 952 / RFC 1123 section 2.1: letters, digits and inner hyphens, at most 63 octets (RFC 1035 section 2.3.4).
_LDH = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# RFC 6335 section 5.1: 1 to 15 letters, digits and single inner hyphens, at least one letter.
_SERVICE = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?")
_MAX_LABEL = 63
CRL_LABEL = "_crl"
_MAX_NAME = 255


class InvalidName(ValueError):
    """A text that cannot become the DNS name it is meant for."""


def parse_zone(text: str) -> dns.name.Name:
    """Return the zone `text` names, in lower case.

    A zone has two or more letter-digit-hyphen labels and at most 255 octets in wire form (RFC 1035 section 2.3.4).

    Raises:
        InvalidName: `text` is no such domain.
    """
    labels = text.lower().removesuffix(".").split(".")
    if len(labels) < 2 or not all(labels):
        raise InvalidName(f"zone '{text}' is not a domain: give two or more labels, as in bob.members.example")
    if sum(len(label.encode()) + 1 for label in labels) + 1 > _MAX_NAME:
        raise InvalidName(f"zone '{shorten(text)}' has more than {_MAX_NAME} octets: choose a shorter domain")
    bad = next((label for label in labels if not _LDH.fullmatch(label)), None)
    if bad is not None:
        raise InvalidName(
            f"zone '{shorten(text)}' is not a domain: label '{shorten(bad)}' must be 1 to {_MAX_LABEL} letters, "
            "digits or inner hyphens (write an international name in its xn-- form)"
        )
    return dns.name.Name([*(label.encode() for label in labels), b""])


def check_label(text: str) -> str:
    """Return the host label `text` in lower case.

    Raises:
        InvalidName: it is not one letter-digit-hyphen label of at most 63 octets.
    """
    label = text.lower()
    if not _LDH.fullmatch(label):
        raise InvalidName(
            f"host label '{shorten(text)}' must be 1 to {_MAX_LABEL} letters, digits or inner hyphens: set btmm_label"
        )
    return label


def check_title(text: str) -> str:
    """Return the user-visible title `text` in Unicode form C, as RFC 6763 section 4.1.1 asks.

    Raises:
        InvalidName: it is empty, has more than 63 octets of UTF-8, or contains a control character.
    """
    title = unicodedata.normalize("NFC", text)
    try:
        size = len(title.encode())
    except UnicodeEncodeError as error:  # a lone surrogate
        raise InvalidName(f"title {text!a} is not Unicode text: set btmm_title") from error
    if not 0 < size <= _MAX_LABEL:
        raise InvalidName(f"title '{shorten(text)}' has {size} octets of UTF-8, 1 to {_MAX_LABEL} fit: set btmm_title")
    if any(character < " " or character == "\x7f" for character in title):
        raise InvalidName(f"title {text!a} contains a control character: set btmm_title")
    return title


def service_type(text: str) -> str:
    """Return the service type `text` in full: 'ssh' and '_ssh._tcp' both give '_ssh._tcp'.

    Raises:
        InvalidName: it is no service name of RFC 6335 section 5.1 under `_tcp` or `_udp` (RFC 6763 section 7).
    """
    full = text.lower()
    if not full.startswith("_"):
        full = f"_{full}._tcp"
    name, _, protocol = full[1:].partition("._")
    if protocol not in {"tcp", "udp"} or not _SERVICE.fullmatch(name):
        raise InvalidName(
            f"service type '{shorten(text)}' is not valid: write it as ssh or _ssh._tcp, "
            "1 to 15 letters, digits or single inner hyphens"
        )
    return full


def check_text(name: dns.name.Name) -> None:
    """Return when every octet outside ASCII is in a place where DNS-SD reads UTF-8: an instance's label.

    That is the label before `_service._tcp` or `._udp` (RFC 6763 section 4.1.3). Elsewhere an international label has
    its A-label form (IDNA 2008, RFC 5890 section 2.3.2.1); UTF-8 would be published there, and never be found.

    Raises:
        InvalidName: another label has such octets.
    """
    labels = name.labels
    for index, label in enumerate(labels):
        if label.isascii() or (labels[index + 1][:1] == b"_" and labels[index + 2].lower() in {b"_tcp", b"_udp"}):
            continue
        text = label.decode(errors="replace")
        raise InvalidName(
            f"label '{text}' of '{shorten(str(name))}' is not ASCII: write it in its xn-- form (IDNA 2008); "
            "only the instance before _service._tcp is UTF-8"
        )


def folded(name: dns.name.Name) -> tuple[bytes, ...]:
    """Return what names are compared by (RFC 4343), hashed ten times as fast as the name itself."""
    return tuple(map(bytes.lower, name.labels))


def host_name(label: str, zone: dns.name.Name) -> dns.name.Name:
    """Return `H.Z`, where the host's AAAA is."""
    return _below(zone, check_label(label).encode())


def tsig_key_name(label: str, zone: dns.name.Name, generation: int = 0) -> dns.name.Name:
    """Return the name of the host's TSIG key: the host's own name, so that a log line says who signed.

    A key that replaces another has its generation before it: both are valid while the host changes over.
    """
    own = host_name(label, zone)
    return _below(own, f"g{generation}".encode()) if generation else own


def service_name(kind: str, zone: dns.name.Name) -> dns.name.Name:
    """Return `_ssh._tcp.Z`, the shared name that is browsed (RFC 6763 section 4.1)."""
    return _below(zone, *service_type(kind).encode().split(b"."))


def enumeration_name(zone: dns.name.Name) -> dns.name.Name:
    """Return `_services._dns-sd._udp.Z`, the shared name that lists service types (RFC 6763 section 9)."""
    return _below(zone, b"_services", b"_dns-sd", b"_udp")


def instance_name(title: str, kind: str, zone: dns.name.Name) -> dns.name.Name:
    """Return `N._ssh._tcp.Z`; the title is ONE label, dots and spaces in it are data (RFC 6763 section 4.1.1)."""
    return _below(service_name(kind, zone), check_title(title).encode())


def autotunnel_name(label: str, zone: dns.name.Name) -> dns.name.Name:
    """Return `_autotunnel._udp.H.Z`, where the SRV of the mapped port is (RFC 6281 section 3)."""
    return _below(host_name(label, zone), b"_autotunnel", b"_udp")


def autotunnel_lan_name(label: str, zone: dns.name.Name) -> dns.name.Name:
    """Return `_autotunnel-lan._udp.H.Z`, where the SRV of a NATed host's own address is; this project's invention."""
    return _below(host_name(label, zone), b"_autotunnel-lan", b"_udp")


def autotunnel_target(ula: IPv6Address, zone: dns.name.Name, kind: str = "") -> dns.name.Name:
    """Return `AutoTunnel-XX-..-XX.Z`, where the outer address is; readers take its label as opaque.

    The shape is RFC 6281's (section 3), an EUI-64; ours is the ULA's interface identifier, so no MAC address leaks.
    With a `kind` it is a target beside that one: "6" for an IPv6 address with another port, "lan" for the own address.
    """
    label = b"AutoTunnel-" + ula.packed[8:].hex("-").upper().encode()
    return _below(zone, label + (f"-{kind}".encode() if kind else b""))


def lease_name(label: str, zone: dns.name.Name) -> dns.name.Name:
    """Return `_lease.H.Z`, where the host leaves the trace of its lease; the name is this project's invention."""
    return _below(host_name(label, zone), b"_lease")


def crl_name(zone: dns.name.Name) -> dns.name.Name:
    """Return `_crl.Z`, where the owner's list of revoked certificates is; the name is this project's invention."""
    return _below(zone, CRL_LABEL.encode())


def kerberos_name(label: str, zone: dns.name.Name) -> dns.name.Name:
    """Return `_kerberos.H.Z`, where a host tells its Kerberos realm, as MIT's clients look for it."""
    return _below(host_name(label, zone), b"_kerberos")


def reverse_name(ula: IPv6Address) -> dns.name.Name:
    """Return the ip6.arpa name of the address (RFC 3596 section 2.5)."""
    return dns.reversename.from_address(str(ula))


def reverse_zone(prefix: IPv6Network) -> dns.name.Name:
    """Return the ip6.arpa zone of the prefix.

    Raises:
        InvalidName: the prefix does not end between two nibbles, so no single zone covers it.
    """
    if prefix.prefixlen % 4:
        raise InvalidName(f"prefix {prefix} does not end at a multiple of 4 bits: no single ip6.arpa zone covers it")
    return dns.name.Name(reverse_name(prefix.network_address).labels[32 - prefix.prefixlen // 4 :])


def _below(parent: dns.name.Name, *labels: bytes) -> dns.name.Name:
    try:
        return dns.name.Name((*labels, *parent.labels))
    except (dns.name.NameTooLong, dns.name.LabelTooLong) as error:
        first = labels[0].decode(errors="replace")
        raise InvalidName(
            f"'{shorten(first)}' under {shorten(str(parent))} has more than {_MAX_NAME} octets: "
            "shorten the title or the zone"
        ) from error


def shorten(text: str) -> str:
    """Return a text as an error message can quote it."""
    return text if len(text) <= 80 else f"{text[:77]}..."
