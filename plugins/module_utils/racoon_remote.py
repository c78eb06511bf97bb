# SPDX-License-Identifier: GPL-3.0-or-later
"""``remote`` of racoon.conf: how phase 1 with a peer is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .racoon_lexer import RacoonError, Token
from .racoon_values import (
    SWITCH,
    Entry,
    Syntax,
    address,
    block,
    choice,
    cipher,
    count,
    dh_group,
    endpoint,
    lifetime,
    quoted,
    switch,
)

if TYPE_CHECKING:
    from .racoon_lexer import Cursor

_MODES = ("main", "aggressive", "base")
_METHODS = (
    "pre_shared_key", "rsasig", "dsssig", "rsaenc", "gssapi_krb", "hybrid_rsa_server", "hybrid_rsa_client",
    "xauth_psk_server", "xauth_psk_client", "xauth_rsa_server", "xauth_rsa_client",
)  # fmt: skip
_IDENTITIES = ("address", "fqdn", "user_fqdn", "keyid", "asn1dn")


def _modes(cursor: Cursor) -> list[str]:
    found = [cursor.word("exchange_mode", _MODES).text]
    while not cursor.at("mark", ";"):
        cursor.took("mark", ",")
        found.append(cursor.word("exchange_mode", _MODES).text)
    return found


def identity(cursor: Cursor) -> tuple[str, str | None]:
    """Read the kind of an identity, and the identity unless it is left to racoon."""
    if cursor.at("word", "subnet"):
        raise RacoonError(
            cursor.ahead.line, "racoon takes a subnet for an identity, and no peer has one", "write fqdn or asn1dn"
        )
    kind = cursor.word("the kind of an identity", _IDENTITIES).text
    is_file = kind == "keyid" and cursor.took("word", "file")
    if kind == "keyid" and not is_file:
        cursor.took("word", "tag")
    if kind in {"address", "asn1dn"} and not cursor.at("string"):
        return kind, None
    given = cursor.string(f"an identity of the kind {kind}")
    if kind == "address":
        address(given)
    elif kind == "asn1dn" and "=" not in given.text:
        raise RacoonError(given.line, f"{given} is no distinguished name", 'write it like "O=zone, CN=host"')
    elif is_file:
        cursor.file("certificate", given)
    return kind, given.text


def _peers_identity(cursor: Cursor) -> tuple[str, str | None]:
    line = cursor.ahead.line
    kind, text = identity(cursor)
    if kind == "asn1dn" and text is None:
        raise RacoonError(line, "racoon takes peers_identifier asn1dn without a name, and compares nothing", "add it")
    return kind, text


def _certificate(cursor: Cursor) -> None:
    if cursor.word("the type of a certificate", ("x509", "plain_rsa")).text == "x509":
        cursor.file("certificate", cursor.string("the certificate"))
    # Racoon looks for the private key only when a peer calls.
    cursor.file("certificate", cursor.string("the private key"))


def _authority(cursor: Cursor) -> None:
    cursor.word("the type of the authority's certificate", ("x509",))
    cursor.file("certificate", cursor.string("the authority's certificate"))


def _peers_certificate(cursor: Cursor) -> None:
    if cursor.at("string"):
        cursor.note(cursor.ahead.line, "peers_certfile without a type will be removed from racoon: write x509 first")
    elif cursor.word("the type of the peer's certificate", ("x509", "plain_rsa", "dnssec")).text == "dnssec":
        return
    cursor.file("certificate", cursor.string("the peer's certificate"))


def _script(cursor: Cursor) -> None:
    cursor.string("a script")
    cursor.word("when a script runs", ("phase1_up", "phase1_down", "phase1_dead"))


def _method(cursor: Cursor) -> str:
    return cursor.word("authentication_method", _METHODS).text


_PROPOSAL = Syntax(
    "proposal",
    {
        "encryption_algorithm": cipher,
        "hash_algorithm": choice("md5", "sha1", "sha256", "sha384", "sha512"),
        "authentication_method": _method,
        "dh_group": dh_group,
        "lifetime": lifetime,
        "gss_id": quoted,
        "gssapi_id": quoted,
    },
)
_NEEDED = ("encryption_algorithm", "hash_algorithm", "authentication_method", "dh_group")


def _proposal(cursor: Cursor) -> int:
    """Return the bits of the proposal's group."""
    line = cursor.ahead.line
    found = block(cursor, _PROPOSAL)
    for name in _NEEDED:
        if name not in found:
            raise RacoonError(line, f"the proposal has no {name}", "add it: all four are needed")
    method = found["authentication_method"][0]
    for name in ("gss_id", "gssapi_id"):
        for entry in found.get(name, ()):
            if method.value != "gssapi_krb" or list(found).index(name) < list(found).index("authentication_method"):
                raise RacoonError(
                    entry.keyword.line,
                    f"{name} stands before, or without, authentication_method gssapi_krb",
                    "put it after that statement",
                )
    bits: int = found["dh_group"][0].value
    return bits


_FORCED = choice(*SWITCH, "force")
_REMOTE = Syntax(
    "remote",
    {
        "remote_address": endpoint,
        "exchange_mode": _modes,
        "doi": choice("ipsec_doi"),
        "situation": choice("identity_only"),
        "my_identifier": identity,
        "peers_identifier": _peers_identity,
        "certificate_type": _certificate,
        "ca_type": _authority,
        "peers_certfile": _peers_certificate,
        "nat_traversal": _FORCED,
        "ike_frag": _FORCED,
        "rekey": _FORCED,
        "generate_policy": choice(*SWITCH, "require", "unique"),
        "proposal_check": choice("obey", "strict", "claim", "exact"),
        "lifetime": lifetime,
        "script": _script,
        "xauth_login": quoted,
        "proposal": _proposal,
        **dict.fromkeys(("dpd_delay", "dpd_retry", "dpd_maxfail", "nonce_size", "ph1id", "esp_frag"), count),
        **dict.fromkeys(
            (
                "verify_identifier", "verify_cert", "send_cert", "send_cr", "match_empty_cr", "passive",
                "support_proxy", "mode_cfg", "weak_phase1_check", "initial_contact", "dpd",
            ),
            switch,
        ),
    },
    repeated=frozenset({"peers_identifier", "proposal", "script"}),
    blocks=frozenset({"proposal"}),
)  # fmt: skip


class Remotes:
    """The ``remote`` blocks of a file, each of which must differ from those before it."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}

    def read(self, cursor: Cursor) -> None:
        """Read what follows the word ``remote``.

        Raises:
            RacoonError: racoon refuses it, or takes it and does something else.
        """
        start = cursor.ahead
        key, outer = self._index(cursor)
        if key in self._lines:
            raise RacoonError(
                start.line,
                f"remote {key} is already on line {self._lines[key]}, and racoon would use only one of them",
                "make them one",
            )
        inherits = cursor.took("word", "inherit")
        if inherits:
            parent = cursor.ahead
            wanted = self._index(cursor)[0]
            if wanted.startswith("anonymous") or wanted not in self._lines:
                raise RacoonError(
                    parent.line, f"there is no remote {wanted} to inherit from", "name an earlier one, not anonymous"
                )
        self._lines[key] = start.line
        if not (inherits and cursor.took("mark", ";")):
            found = block(cursor, _REMOTE)
            _judge(cursor, start, found, outer_version=outer, inherits=inherits)

    def _index(self, cursor: Cursor) -> tuple[str, int | None]:
        """Read which peer it is; returns how it is known, and the IP version of an address (0: a name, None: any)."""
        if cursor.at("string"):
            return f'"{cursor.take().text}"', 0
        if cursor.took("word", "anonymous"):
            port = cursor.port("anonymous", least=0)
            return ("anonymous" if port is None else f"anonymous [{port}]"), None
        found, port = endpoint(cursor)
        return f"{found} [{port}]", found.version


def _judge(
    cursor: Cursor, start: Token, found: dict[str, list[Entry]], *, outer_version: int | None, inherits: bool
) -> None:
    """Look at what only the whole block tells."""
    if "remote_address" in found and outer_version != 0:
        line = found["remote_address"][0].keyword.line
        raise RacoonError(line, "this block has its address already", "remove remote_address, or name the block")
    if not inherits:
        for name in ("exchange_mode", "proposal"):
            if name not in found:
                raise RacoonError(start.line, f"this remote has no {name}", "add it")
    modes = [mode for entry in found.get("exchange_mode", ()) for mode in entry.value]
    if "aggressive" in modes and len({entry.value for entry in found.get("proposal", ())}) > 1:
        raise RacoonError(
            start.line, "aggressive mode sends its key before the group is agreed on", "give all proposals one dh_group"
        )
    _judge_identities(cursor, found, inherits=inherits)
    for entry in found.get("esp_frag", ()):
        cursor.note(entry.keyword.line, "esp_frag does nothing: Linux has no support for it")
    _judge_nat(found, outer_version)


def _judge_identities(cursor: Cursor, found: dict[str, list[Entry]], *, inherits: bool) -> None:
    for entry in found.get("my_identifier", ()):
        kind, text = entry.value
        if kind == "asn1dn" and text is None and "certificate_type" not in found:
            raise RacoonError(
                entry.keyword.line, "my_identifier asn1dn takes its name from a certificate", "add certificate_type"
            )
        if kind == "asn1dn" and text is not None and "certificate_type" in found:
            cursor.note(entry.keyword.line, "the identity is both written and in the certificate: leave it out")
    verified = any(entry.value == "on" for entry in found.get("verify_identifier", ()))
    if "peers_identifier" in found and not verified and not inherits:
        line = found["peers_identifier"][0].keyword.line
        cursor.note(line, "peers_identifier is compared only with verify_identifier on")


def _judge_nat(found: dict[str, list[Entry]], version: int | None) -> None:
    if version == 0 and "remote_address" in found:
        version = found["remote_address"][0].value[0].version
    for entry in found.get("nat_traversal", ()):
        if version == 6 and entry.value != "off":
            raise RacoonError(
                entry.keyword.line,
                "racoon takes ESP in UDP on IPv4 sockets only, so over IPv6 no packet would arrive",
                "write nat_traversal off",
            )
