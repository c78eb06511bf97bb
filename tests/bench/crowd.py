# SPDX-License-Identifier: GPL-3.0-or-later
"""A host among many: the zone knows 1,000, and 100 of them hold a tunnel to it, all called by one charon elsewhere."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from ipaddress import IPv6Address

from ansible_collections.btmm.fleet.plugins.module_utils import ipsec, x509
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerStore
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.bench.idle import resident_mib
from tests.bench.overlays import PUBLIC, Ours
from tests.e2e import made_up, proof
from tests.e2e.fleet import Fleet

KNOWN, LIVE = 1000, 100
CALLER, CALLED = "zone", "peer"
# Calls, and later renewals of keys, that are under way at a time: of more than five from one address, as here, charon
# takes no more (block_threshold).
AT_ONCE = 4
SETTLE_S = 15  # for the daemon to follow its new peers
URI = "--uri unix:///run/crowd/charon.vici"
# Threads and plugins as role tunnel has them.
SETTINGS = """
charon-systemd {
  port = 0
  reuse_ikesa = no
  threads = 64
  plugins {
    include /etc/strongswan.d/charon/*.conf
    kernel-libipsec { load = yes }
    vici { socket = unix:///run/crowd/charon.vici }
    dhcp { load = no }
    farp { load = no }
    forecast { load = no }
    ha { load = no }
    led { load = no }
    unity { load = no }
  }
}
"""


@dataclass(frozen=True)
class Crowd:
    """Of the host that is called: MiB resident; seconds until all were connected, and until all had new keys."""

    rss_mib: dict[str, float]
    connected_s: float
    rekeyed_s: float
    first_byte_s: float


def measure(fleet: Fleet, ours: Ours) -> Crowd:
    """Fill the zone, have the crowd call, look; then have all renew their keys at once."""
    store = _store(fleet)
    ulas = _configure(fleet, store)
    ulas += [store.prefix[number] for number in range(1, KNOWN - LIVE + 1)]
    made_up.publish(fleet, "caller", ulas, PUBLIC[CALLER])
    each = f"seq {LIVE} | xargs -P {AT_ONCE} -I% swanctl"
    begin = time.monotonic()
    fleet.shell(CALLER, f"{each} --initiate --ike caller-% --child caller-% {URI} > /dev/null", timeout=300)
    connected_s = time.monotonic() - begin
    assert _associations(fleet) >= LIVE
    time.sleep(SETTLE_S)
    rss = {program: resident_mib(fleet, CALLED, program) for program in ours.programs}
    first_byte_s = ours.first_byte()
    begin = time.monotonic()
    fleet.shell(CALLER, f"{each} --rekey --ike caller-% {URI} > /dev/null", timeout=300)
    rekeyed_s = time.monotonic() - begin
    assert _associations(fleet) >= LIVE, "the renewal of keys cost tunnels"
    fleet.shell(CALLER, "systemctl stop bench-crowd")
    return Crowd(rss, connected_s, rekeyed_s, first_byte_s)


def _associations(fleet: Fleet) -> int:
    return int(fleet.shell(CALLED, "swanctl --list-sas | grep -c ESTABLISHED || true"))


def _store(fleet: Fleet) -> OwnerStore:
    passphrase = (fleet.folder / "passphrase").read_text(encoding="utf-8").strip()
    return OwnerStore(fleet.folder / "owner", proof.ZONE, passphrase)


def _configure(fleet: Fleet, store: OwnerStore) -> list[IPv6Address]:
    """Give the caller the keys, certificates and addresses of all, and a connection for each; return the addresses."""
    called = f"{CALLED}.{proof.ZONE}"
    proposals = ipsec.proposals(2, calling=True)
    files: dict[str, str] = {"strongswan.conf": SETTINGS, "swanctl/x509ca/ca.pem": store.ca_certificate_pem}
    connections, ulas = [], []
    for number in range(1, LIVE + 1):
        label = f"caller-{number}"
        key = ec.generate_private_key(ec.SECP256R1())
        request = cx509.CertificateSigningRequestBuilder().subject_name(cx509.Name([])).sign(key, hashes.SHA256())
        profile = x509.Profile(f"{label}.{proof.ZONE}", ula=store.prefix[number])
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        issued = store.sign(pem, profile, label=label, host=label)
        files[f"swanctl/x509/{label}.pem"] = issued.certificate
        files[f"swanctl/private/{label}.pem"] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        ulas.append(IPv6Address(issued.enrolment.ula))
        connections.append(
            f"{label} {{\n version = 2\n local_port = 4500\n encap = yes\n proposals = {','.join(proposals.ike)}\n"
            f" remote_addrs = {PUBLIC[CALLED]}\n remote_port = 4500\n"
            f" local {{ auth = pubkey\n certs = {label}.pem\n id = {label}.{proof.ZONE} }}\n"
            f" remote {{ auth = pubkey\n id = {called} }}\n"
            f" children {{ {label} {{ esp_proposals = {','.join(proposals.esp)}\n"
            f" local_ts = {issued.enrolment.ula}/128\n remote_ts = {proof.ula(fleet, CALLED)}/128 }} }} }}\n"
        )
    files["addresses"] = "".join(f"address replace {ula}/128 dev lo\n" for ula in ulas)
    files["swanctl/swanctl.conf"] = f"connections {{ {''.join(connections)} }}\n"
    content = fleet.folder / "crowd.json"
    content.write_text(json.dumps(files), encoding="utf-8")
    content.chmod(0o600)
    fleet.send(CALLER, content, "/run/crowd.json")
    unpack = (
        "import json, pathlib\n"
        "for name, text in json.loads(pathlib.Path('/run/crowd.json').read_text()).items():\n"
        "    path = pathlib.Path('/run/crowd', name); path.parent.mkdir(parents=True, exist_ok=True)\n"
        "    path.write_text(text); path.chmod(0o600)"
    )
    fleet.shell(
        CALLER,
        f'python3 -c "{unpack}"\nip -6 -batch /run/crowd/addresses\n'
        "systemd-run --quiet --collect --unit bench-crowd --setenv STRONGSWAN_CONF=/run/crowd/strongswan.conf "
        "/usr/sbin/charon-systemd\n"
        f"for _ in {{1..50}}; do SWANCTL_DIR=/run/crowd/swanctl swanctl --load-all {URI} > /dev/null && exit; "
        "sleep 0.1; done; exit 1",
    )
    content.unlink()
    return ulas
