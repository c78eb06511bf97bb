# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm ticket HOST`: a ticket for its services by this user's certificate, unless there is one."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from .shared import host

if TYPE_CHECKING:
    import argparse

    from watcher.sign_on.credentials import Credentials
    from watcher.sign_on.realms import Realm
    from watcher.sign_on.tickets import Identity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("host", metavar="HOST", help="its label, or its whole name")
    parser.add_argument(
        "--quiet", action="store_true", help="say nothing of success, and nothing when there was no login"
    )


def run(zones: list[str], given: argparse.Namespace) -> int:
    """Get a ticket, or say in one sentence why there is none (1)."""
    from watcher.sign_on import NotEnrolledError, SignOnError  # noqa: PLC0415

    try:
        zone, name, realm = _found(zones, given.host)
        said = _ticket(zone, name, realm)
    except NotEnrolledError as err:
        if not given.quiet:
            print(f"{host()}: {err}", file=sys.stderr)
        return 1
    except SignOnError as err:
        print(f"{host()}: {err}", file=sys.stderr)
        return 1
    if not given.quiet:
        print(said)
    return 0


def _found(zones: list[str], wanted: str) -> tuple[str, str, Realm]:
    """Return zone, name and realm of a host."""
    from watcher.sign_on import SignOnError, realms  # noqa: PLC0415
    from watcher.sign_on.credentials import Credentials  # noqa: PLC0415

    wanted = wanted.lower().removesuffix(".")
    own = [zone for zone in zones if wanted.endswith(f".{zone}")] or zones
    names = {zone: f"{wanted.removesuffix(f'.{zone}')}.{zone}" for zone in own}
    for zone, name in names.items():
        realm = realms.of_host(name)
        if realm is not None:
            return zone, name, realm
    zone, name = next(iter(names.items()))
    Credentials.own(zone).certificate()  # who has none yet needs no word about the host
    raise SignOnError(
        f"this host knows no realm of {name}; it is off, new, or has none: "
        f"see 'btmm connect {wanted}', and 'systemctl status btmm-kdc@{zone}' there"
    )


def _ticket(zone: str, name: str, realm: Realm) -> str:
    from watcher.sign_on import SignOnError, UntimelyError, tickets  # noqa: PLC0415
    from watcher.sign_on.credentials import Credentials, moment  # noqa: PLC0415

    credentials = Credentials.own(zone)
    principal = f"{credentials.user}@{realm.name}"
    ticket = tickets.held(principal, realm.name)
    if ticket is None:
        try:
            credentials.certificate()
        except UntimelyError as err:
            fault = tickets.clock_fault(realm, name)
            raise SignOnError(f"{fault} ({err})" if fault else str(err)) from None
        ticket = tickets.get(credentials, realm, name, _identity(credentials))
        fault = tickets.difference(time.time() - ticket.begins, name)
        if fault:  # the library knows the difference now; programs that look at the ticket themselves do not
            print(f"{host()}: {fault}", file=sys.stderr)
    else:
        tickets.prefer(principal)
    return f"{name}  {principal}  until {moment(ticket.ends)}"


def _identity(credentials: Credentials) -> Identity:
    """Return what kinit has to know; passphrase and PIN are asked for here, so that we know who gets them."""
    from watcher.sign_on.passphrase import ask  # noqa: PLC0415
    from watcher.sign_on.tickets import Identity  # noqa: PLC0415

    certificate = credentials.files.certificate
    token = credentials.token()
    if token is not None:
        pin = ask(f"PIN of the token '{token.label}': ")
        token.check(pin)
        if token.certificate() != credentials.certificate_der():
            token.keep(pin, credentials.certificate_der())
        return Identity(token.identity, answer=f"{pin}\n")
    if credentials.is_encrypted():
        key = credentials.decrypted(ask(f"Passphrase for the key of {credentials.zone}: "))
        return Identity(f"FILE:{certificate},{{secret}}", secret=key)
    return Identity(f"FILE:{certificate},{credentials.files.key}")
