# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm login`: a key for this user, made here, and a request that the owner signs; later, until when that is good."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .shared import host

if TYPE_CHECKING:
    import argparse

    from watcher.sign_on.credentials import Credentials


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--passphrase", action="store_true", help="keep the key under a passphrase, which is asked for")
    where.add_argument("--pkcs11", metavar="URI", help="have the key on a token: pkcs11:token=NAME?module-path=LIBRARY")
    parser.add_argument("--new", action="store_true", help="make another key; the former one gets no tickets any more")


def run(zones: list[str], given: argparse.Namespace) -> int:
    """Make what is missing, and say what there is; 1 when that serves no more."""
    from watcher.sign_on import SignOnError  # noqa: PLC0415
    from watcher.sign_on.credentials import Credentials  # noqa: PLC0415

    code = 0
    for zone in zones:
        try:
            print(_login(Credentials.own(zone), given))
        except SignOnError as err:
            print(f"{host()}: {err}", file=sys.stderr)
            code = 1
    return code


def _login(credentials: Credentials, given: argparse.Namespace) -> str:
    from watcher.sign_on import NotEnrolledError, SignOnError  # noqa: PLC0415
    from watcher.sign_on.passphrase import ask, ask_new  # noqa: PLC0415

    if given.new or not credentials.has_key():
        if given.pkcs11:
            credentials.make_key_on(given.pkcs11, ask("PIN of the token: "), new=given.new)
        else:
            credentials.make_key(ask_new(credentials.zone) if given.passphrase else "")
    elif (given.passphrase and not credentials.is_encrypted()) or (given.pkcs11 and not credentials.token()):
        raise SignOnError(f"{credentials.user} has a key that is kept otherwise already; add --new to replace it")
    try:
        certificate = credentials.certificate()
    except NotEnrolledError:
        return f"{credentials.zone}  {credentials.user}: {credentials.waiting()}"
    return f"{credentials.zone}  {credentials.user}  until {certificate.until}"
