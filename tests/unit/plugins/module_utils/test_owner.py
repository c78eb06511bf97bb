# SPDX-License-Identifier: GPL-3.0-or-later
"""The owner's state: made once, whole, private; refusals say the fix; several processes may use it."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path
from unittest import mock

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils import sealed, x509
from ansible_collections.btmm.fleet.plugins.module_utils.owner import OwnerError, OwnerStore
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

ZONE = "bob.members.example"
PASSPHRASE = "correct horse"


def open_store(place: Path, passphrase: str = PASSPHRASE, *, planning: bool = False) -> OwnerStore:
    return OwnerStore(place / "owner", ZONE, passphrase, planning=planning)


@pytest.fixture
def store(tmp_path: Path) -> OwnerStore:
    made = open_store(tmp_path)
    assert made.init()
    return made


def request() -> str:
    builder = cx509.CertificateSigningRequestBuilder(cx509.Name([]))
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def profile(store: OwnerStore, label: str) -> x509.Profile:
    return x509.Profile(f"{label}.{ZONE}", ula=store.prefix.network_address)


def sign(store: OwnerStore, label: str, pem: str | None = None, host: str | None = None) -> str:
    return store.sign(pem or request(), profile(store, label), label=label, host=host or label).certificate


def use_all(store: OwnerStore) -> None:
    sign(store, "imac")
    store.init()


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_it_is_made_once_and_is_private(store: OwnerStore, tmp_path: Path) -> None:
    assert not open_store(tmp_path).init()
    again = open_store(tmp_path)
    assert (again.prefix, again.ca_certificate_pem) == (store.prefix, store.ca_certificate_pem)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "owner").rglob("*")}
    assert modes == {
        ZONE: 0o700,
        "hosts": 0o700,
        "ca.key": 0o600,
        "ca.crt": 0o644,
        "zone.secret": 0o600,
        "zone.json": 0o600,
    }
    assert stat.S_IMODE((tmp_path / "owner").stat().st_mode) == 0o700


@pytest.mark.parametrize(("passphrase", "words"), [("", "btmm_owner_passphrase"), ("short", "less than 8")])
def test_no_store_without_a_passphrase(tmp_path: Path, passphrase: str, words: str) -> None:
    with pytest.raises(OwnerError, match=words):
        open_store(tmp_path, passphrase).init()
    assert not (tmp_path / "owner").exists()


def test_wrong_passphrase_says_so_everywhere(store: OwnerStore, tmp_path: Path) -> None:
    before = contents(tmp_path)
    wrong = open_store(tmp_path, "wrong horse")
    for use in (wrong.init, lambda: wrong.tsig_secret("imac"), lambda: sign(wrong, "imac")):
        with pytest.raises(OwnerError, match=r"does not open .*set btmm_owner_passphrase"):
            use()
    assert contents(tmp_path) == before


def test_failure_while_making_leaves_nothing(tmp_path: Path) -> None:
    with (
        mock.patch.object(sealed, "seal", side_effect=OSError(28, "No space left on device")),
        pytest.raises(OwnerError, match="No space left"),
    ):
        open_store(tmp_path).init()
    assert list((tmp_path / "owner").iterdir()) == []


def test_failure_while_signing_leaves_nothing(store: OwnerStore, tmp_path: Path) -> None:
    before = contents(tmp_path)
    with (
        mock.patch.object(Path, "replace", side_effect=OSError(28, "No space left on device")),
        pytest.raises(OwnerError, match="No space left"),
    ):
        sign(store, "imac")
    after = contents(tmp_path)
    after.pop(f"owner/{ZONE}/.lock")
    assert after == before


def test_a_foreign_folder_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "owner" / ZONE).mkdir(parents=True)
    with pytest.raises(OwnerError, match=r"has no zone\.json"):
        open_store(tmp_path).init()


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "zone.secret"])
def test_a_lost_file_is_not_made_again(store: OwnerStore, tmp_path: Path, name: str) -> None:
    (store.directory / name).unlink()
    with pytest.raises(OwnerError, match="is missing; restore it from a backup"):
        use_all(open_store(tmp_path))
    assert not (store.directory / name).exists()


def test_key_and_certificate_of_different_backups(store: OwnerStore, tmp_path: Path) -> None:
    other = OwnerStore(tmp_path / "other", ZONE, PASSPHRASE)
    other.init()
    (store.directory / "ca.crt").write_bytes((other.directory / "ca.crt").read_bytes())
    with pytest.raises(OwnerError, match="do not match"):
        sign(open_store(tmp_path), "imac")


def test_signed_and_recorded(store: OwnerStore) -> None:
    pem = request()
    certificate = cx509.load_pem_x509_certificate(sign(store, "imac", pem).encode())
    record = store.enrolment("imac")
    assert record is not None
    key_der = x509.spki(x509.load_request(pem))
    assert record.ula == str(store.address(key_der))
    assert (record.host, record.role, record.serial) == ("imac", "host", x509.serial(certificate))
    assert x509.reason_to_issue(
        x509.to_pem(certificate), key_der, x509.Profile(f"imac.{ZONE}", ula=store.address(key_der)), store.ca
    ) is None  # fmt: skip


def test_conflicts_name_both_hosts(store: OwnerStore) -> None:
    pem = request()
    sign(store, "imac", pem)
    with pytest.raises(OwnerError, match="label 'imac' belongs to host 'imac'"):
        sign(store, "imac", host="mini")
    with pytest.raises(OwnerError, match=r"private key of host 'imac'.*clone"):
        sign(store, "mini", pem)
    with pytest.raises(OwnerError, match="enrolled as 'imac' already"):
        sign(store, "mini", pem, host="imac")
    assert [record.label for record in store.enrolments()] == ["imac"]


def test_reinstalled_and_renamed_hosts_are_welcome(store: OwnerStore) -> None:
    pem = request()
    sign(store, "imac", pem)
    sign(store, "imac", pem, host="imac.lan")  # the inventory calls it otherwise
    sign(store, "imac", host="imac.lan")  # it has a new key
    assert len(store.enrolments()) == 1


def test_server_beside_host(store: OwnerStore) -> None:
    sign(store, "zone")
    issued = store.sign(request(), x509.Profile(f"zone.{ZONE}"), label="zone", host="zone")
    assert issued.enrolment.ula is None
    assert {record.role for record in store.enrolments()} == {"host", "server"}


def sign_kdc(store: OwnerStore, label: str, pem: str | None = None, host: str | None = None) -> None:
    realm = f"LKDC:SHA1.{'0' * 40}"
    store.sign(pem or request(), x509.Profile(f"{label}.{ZONE}", realm=realm), label=label, host=host or label)


def test_kdc_beside_host(store: OwnerStore) -> None:
    """Its record follows the host's, which says whose label it is."""
    pem, kdc_pem = request(), request()
    sign(store, "imac", pem)
    sign_kdc(store, "imac", kdc_pem)
    sign(store, "imac", pem, host="imac.lan")  # the inventory calls it otherwise
    sign_kdc(store, "imac", kdc_pem, host="imac.lan")
    sign_kdc(store, "imac", host="imac.lan")  # it has a new realm
    assert [(record.role, record.host) for record in store.enrolments()] == [("host", "imac.lan"), ("kdc", "imac.lan")]
    with pytest.raises(OwnerError, match=r"label 'imac' belongs to host 'imac\.lan'"):
        sign_kdc(store, "imac", host="mini")
    assert store.forget("imac")
    assert store.enrolments() == []
    assert (store.directory / "removed" / "imac.kdc.1.json").exists()


def test_a_cloned_kdc_is_told(store: OwnerStore) -> None:
    pem = request()
    sign_kdc(store, "imac", pem)
    with pytest.raises(OwnerError, match=r"private key of host 'imac' \(label 'imac'\): one is a clone"):
        sign_kdc(store, "mini", pem)


def test_tsig_keys_are_stable_distinct_and_die_with_the_host(store: OwnerStore, tmp_path: Path) -> None:
    first = store.tsig_secret("imac")
    sign(store, "imac")
    assert open_store(tmp_path).tsig_secret("imac") == first != store.tsig_secret("mini")
    assert store.forget("imac")
    assert store.tsig_secret("imac") == open_store(tmp_path).tsig_secret("imac") != first
    assert store.enrolment("imac") is None
    assert (store.directory / "removed" / "imac.1.json").exists()
    assert not store.forget("imac")
    sign(store, "imac", host="another")
    assert store.forget("imac")
    assert (store.directory / "removed" / "imac.2.json").exists()


def test_planning_writes_nothing(tmp_path: Path) -> None:
    plan = open_store(tmp_path, planning=True)
    assert plan.init()
    assert plan.prefix == open_store(tmp_path, planning=True).prefix
    assert plan.tsig_secret("imac")
    sign(plan, "imac")
    assert list(tmp_path.iterdir()) == []


def test_planning_on_a_store_writes_nothing(store: OwnerStore, tmp_path: Path) -> None:
    sign(store, "imac")
    before = contents(tmp_path)
    plan = open_store(tmp_path, planning=True)
    assert not plan.init()
    sign(plan, "mini")
    assert plan.forget("imac")
    with pytest.raises(OwnerError, match="belongs to"):
        sign(plan, "imac", host="mini")
    assert contents(tmp_path) == before


def _sign_in_child(place: str, label: str, pem: str | None) -> str:
    try:
        sign(open_store(Path(place)), label, pem)
    except OwnerError as error:
        return str(error)
    return ""


def test_eight_processes_sign_at_once(store: OwnerStore, tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        results = pool.starmap(_sign_in_child, [(str(tmp_path), f"host{number}", None) for number in range(8)])
        assert results == [""] * 8
        # A key that eight hosts carry: one gets it, seven are told.
        pem = request()
        told = pool.starmap(_sign_in_child, [(str(tmp_path), f"clone{number}", pem) for number in range(8)])
    assert sorted(map(bool, told)) == [False] + [True] * 7
    assert len(store.enrolments()) == 9


def _make_in_child(place: str) -> tuple[str, str]:
    made = open_store(Path(place))
    made.init()
    return str(made.prefix), made.ca_certificate_pem


def test_eight_processes_make_one_store(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        assert len(set(pool.map(_make_in_child, [str(tmp_path)] * 8))) == 1
    assert [path.name for path in (tmp_path / "owner").iterdir()] == [ZONE]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["zone", "prefix", "generations", "label", "role", "host", "key", "ula", "serial", "not_after"]
            ),
            inner,
        )
    ),
)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("spoilt")
    sign_in = open_store(place)
    sign_in.init()
    sign(sign_in, "imac")
    return place


@settings(max_examples=150, deadline=None)  # a disk may be slow
@given(content=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_foreign_files_are_told_not_tripped_over(spoilt: Path, content: bytes) -> None:
    folder = spoilt / "owner" / ZONE
    state, record = (folder / "zone.json").read_bytes(), (folder / "hosts/imac.json").read_bytes()
    try:
        for name in ("zone.json", "hosts/imac.json"):
            (folder / name).write_bytes(content)
            with pytest.raises(OwnerError, match="is damaged"):
                open_store(spoilt).prefix if name == "zone.json" else open_store(spoilt).enrolment("imac")
    finally:
        (folder / "zone.json").write_bytes(state)
        (folder / "hosts/imac.json").write_bytes(record)


def test_a_replaced_key_is_another_one_and_survives(store: OwnerStore, tmp_path: Path) -> None:
    before = [store.tsig_secret(label) for label in ("imac", "mini")]
    open_store(tmp_path, planning=True).rotate(["imac"])
    assert open_store(tmp_path).tsig_secret("imac") == before[0]
    store.rotate(["imac", "mini"])
    after = open_store(tmp_path)
    assert [after.tsig_generation(label) for label in ("imac", "mini", "macbook")] == [1, 1, 0]
    assert not {after.tsig_secret(label) for label in ("imac", "mini")} & set(before)


def test_what_was_exported_makes_the_same_store(store: OwnerStore, tmp_path: Path) -> None:
    sign(store, "imac")
    exported = store.export()
    assert set(exported) == {"ca.crt", "ca.key", "zone.json", "zone.secret", "hosts/imac.json"}
    copy = open_store(tmp_path / "elsewhere")
    assert open_store(tmp_path / "elsewhere", planning=True).restore(exported)
    assert not copy.exists
    assert copy.restore(exported)
    assert copy.tsig_secret("imac") == store.tsig_secret("imac")
    assert copy.enrolment("imac") == store.enrolment("imac")
    assert not copy.restore(exported)


def test_the_store_of_another_owner_is_not_overwritten(store: OwnerStore, tmp_path: Path) -> None:
    other = open_store(tmp_path / "elsewhere")
    other.init()
    with pytest.raises(OwnerError, match="is not the one of the backup; move it away"):
        other.restore(store.export())


def test_a_backup_cannot_write_beside_the_store(store: OwnerStore, tmp_path: Path) -> None:
    bad = {**store.export(), "../../outside": ""}
    with pytest.raises(OwnerError, match="no file of the owner's state"):
        open_store(tmp_path / "elsewhere").restore(bad)
    assert not open_store(tmp_path / "elsewhere").exists
