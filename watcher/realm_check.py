# SPDX-License-Identifier: GPL-3.0-or-later
"""The child that judges what peers tell of their realms: openssl checks the chain, pyasn1 reads the principal.

Run as `python3 -m watcher.realm_check CA CRL`. It reads a JSON object a line (`host`, `realm`, `certificate` as
DER in hex), and answers each with `{"reason": null}`, or with a reason to refuse it. It loads nothing of the daemon.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ansible_collections.btmm.fleet.plugins.module_utils import pem
from ansible_collections.btmm.fleet.plugins.module_utils.krb5_principal import principals

from .trust import only

_PATIENCE_S = 10.0


def main(authority: str, revoked: str) -> None:
    """Serve one parent until it closes our standard input."""
    for line in sys.stdin:
        asked = json.loads(line)
        reason = refusal(bytes.fromhex(asked["certificate"]), asked["host"], asked["realm"], authority, revoked)
        print(json.dumps({"reason": reason}), flush=True)


def refusal(certificate: bytes, host: str, realm: str, authority: str, revoked: str) -> str | None:
    """Return why the certificate does not prove that `host` has this realm; None when it does.

    Only the owner's CA writes a KDC's principal, and only into the certificate of the host whose realm it is. The realm
    is checked, too, so that the CA's word about one realm cannot be used for another.

    Args:
        certificate: of the KDC, DER; anything.
        host: the name that it must have, without final dot.
        realm: what the zone says.
        authority: file of the owner CA.
        revoked: file of its revocation list; need not exist.
    """
    command = ["openssl", "verify", *only(authority), "-purpose", "sslserver", "-verify_hostname", host]
    if Path(revoked).exists():
        command += ["-crl_check", "-CRLfile", revoked]
    try:
        done = subprocess.run(
            command, input=pem.encode(pem.CERTIFICATE, certificate), text=True, capture_output=True, check=False,
            timeout=_PATIENCE_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as err:
        return f"openssl cannot judge its certificate ({err})"
    if done.returncode:
        return f"its certificate is not the owner's word for {host} ({_cause(done.stderr)})"
    named = principals(certificate)
    if named != [f"krbtgt/{realm}@{realm}"]:
        return f"its certificate is for {', '.join(named) or 'no KDC'}, not for {realm}"
    return None


def _cause(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.startswith("error ")]
    return lines[0].partition(": ")[2] or lines[0] if lines else " ".join(said.split())[:100]


if __name__ == "__main__":
    main(*sys.argv[1:3])
