# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host: writes its own address and asks for it, again and again, with the key that its daemon holds.

The daemon reads its key when it starts, and when systemd has it read its configuration again; so does this. Ends when
/run/enough appears; prints how often it went well, and each failure.
"""

import json
import subprocess
import time
from pathlib import Path

ENOUGH = Path("/run/enough")
ZONE = "bob.members.example"
SERVER = "203.0.113.10"


def run(command: list[str], stdin: str = "") -> str:
    """Return all that a command says."""
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, check=False)
    return done.stdout + done.stderr


def moment() -> str:
    """Return a text that changes whenever the daemon reads its configuration."""
    wanted = ["MainPID", "StateChangeTimestampMonotonic", "ActiveEnterTimestampMonotonic"]
    return run(["systemctl", "show", f"btmm-watcher@{ZONE}.service", "--property", ",".join(wanted)])


def held() -> tuple[str, str, str]:
    """Return zone and label as one name, the key for nsupdate and dig, and the address."""
    config = json.loads(Path(f"/etc/btmm/{ZONE}/watcher.json").read_text())
    own = f"{config['label']}.{config['zone']}."
    secret = Path(config["tsig"]["secret_file"]).read_text().strip()
    return own, f"hmac-sha256:{config['tsig']['name']}:{secret}", config["ula"]


ENOUGH.unlink(missing_ok=True)
when, (own, key, ula) = moment(), held()
good, bad = 0, []
while not ENOUGH.exists():
    if moment() != when:
        when, (own, key, ula) = moment(), held()
    told = run(
        ["nsupdate", "-v", "-t", "5", "-r", "0", "-y", key],
        f"server {SERVER}\nupdate add {own} 120 AAAA {ula}\nsend\n",
    )
    seen = run(["dig", f"@{SERVER}", "+tcp", "+short", "+timeout=5", "+tries=1", "-y", key, own, "AAAA"])
    if told or seen.strip() != ula:
        bad.append(f"{key.split(':')[1]}: update {told.strip()!r}, question {seen.strip()!r}")
    else:
        good += 1
    time.sleep(0.1)
print(json.dumps({"good": good, "bad": bad}))
