# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of a GSS-API context between two hosts, each with Debian's python3-gssapi; both ends print what they know.

gss_peer.py accept ADDRESS PORT | gss_peer.py initiate ADDRESS PORT (hostbased|principal) NAME
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

import gssapi

PATIENCE_S = 20
FLAGS = gssapi.RequirementFlag
KINDS = {"hostbased": gssapi.NameType.hostbased_service, "principal": gssapi.NameType.kerberos_principal}


def say(stream: Any, octets: bytes) -> None:
    """Send one message."""
    stream.write(struct.pack("!I", len(octets)) + octets)
    stream.flush()


def hear(stream: Any) -> bytes:
    """Return the next message; SystemExit when the other end hung up."""
    head = stream.read(4)
    if len(head) < 4:
        sys.exit("the other end hung up")
    octets: bytes = stream.read(struct.unpack("!I", head)[0])
    return octets


def accept(address: str, port: int) -> None:
    """Let one initiator in, with any key of the keytab, and tell it through the context who it is."""
    with socket.create_server((address, port), family=socket.AF_INET6) as listening:
        listening.settimeout(PATIENCE_S)
        print("listening", flush=True)
        connection, _ = listening.accept()
    with connection, connection.makefile("rwb") as stream:
        context = gssapi.SecurityContext(creds=gssapi.Credentials(usage="accept"), usage="accept")
        while not context.complete:
            token = context.step(hear(stream))
            if token:
                say(stream, token)
        asked = context.decrypt(hear(stream)).decode()
        say(stream, context.encrypt(f"{context.initiator_name} said {asked}".encode()))


def initiate(address: str, port: int, kind: str, name: str) -> None:
    """Connect as the owner of the tickets; print who the other end proved to be, and what it said."""
    wanted = FLAGS.mutual_authentication | FLAGS.confidentiality | FLAGS.integrity
    context = gssapi.SecurityContext(
        name=gssapi.Name(name, KINDS[kind]), mech=gssapi.MechType.kerberos, usage="initiate", flags=wanted
    )
    first = context.step()  # before anything is sent: without a ticket there is no call
    with socket.create_connection((address, port), PATIENCE_S) as connection, connection.makefile("rwb") as stream:
        say(stream, first)
        while not context.complete:
            token = context.step(hear(stream))
            if token:
                say(stream, token)
        say(stream, context.encrypt(b"hello"))
        print("heard:", context.decrypt(hear(stream)).decode())
    print("mutual:", bool(context.actual_flags & FLAGS.mutual_authentication))
    print("peer:", context.target_name)


if __name__ == "__main__":
    if sys.argv[1] == "accept":
        accept(sys.argv[2], int(sys.argv[3]))
    else:
        initiate(sys.argv[2], int(sys.argv[3]), *sys.argv[4:6])
