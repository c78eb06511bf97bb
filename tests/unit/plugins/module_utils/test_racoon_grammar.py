# SPDX-License-Identifier: GPL-3.0-or-later
"""What racoon.conf may be. The rows were tried on racoon 0.9.1 (stock grammar of 0.8.2), unless they say "strict"."""

from __future__ import annotations

import pytest
from ansible_collections.btmm.fleet.plugins.module_utils.racoon_grammar import check
from ansible_collections.btmm.fleet.plugins.module_utils.racoon_lexer import RacoonError
from hypothesis import given
from hypothesis import strategies as st

PROPOSAL = (
    "proposal { encryption_algorithm aes 256; hash_algorithm sha256; authentication_method rsasig; dh_group 14; }"
)
BODY = "encryption_algorithm aes 256; authentication_algorithm hmac_sha512; compression_algorithm deflate;"

# Negotiated and carried traffic between two racoons, and between racoon and strongSwan, in one UML kernel.
KNOWN_GOOD = """\
path certificate "/etc/racoon/certs";
listen { isakmp 192.0.2.1 [500]; isakmp_natt 192.0.2.1 [4500]; strict_address; }
timer { natt_keepalive 15 sec; }
remote 192.0.2.2 [500] {                     # the responder has: remote anonymous
  exchange_mode main;
  certificate_type x509 "a.pem" "a.key";  ca_type x509 "ca.pem";
  my_identifier asn1dn;  peers_identifier asn1dn "O=rc, CN=b.example";
  verify_identifier on;  verify_cert on;
  nat_traversal force;  ike_frag on;  dpd_delay 20;  proposal_check claim;  lifetime time 8 hour;
  proposal { encryption_algorithm aes 256; hash_algorithm sha256; authentication_method rsasig; dh_group modp2048; }
}
sainfo address 198.51.100.1 any address 198.51.100.2 any {
  pfs_group modp2048;  lifetime time 1 hour;
  encryption_algorithm aes 256;  authentication_algorithm hmac_sha512;  compression_algorithm deflate;
}
"""


def remote(body: str = "", head: str = "anonymous") -> str:
    return f"remote {head} {{ exchange_mode main; {body} {PROPOSAL} }}"


def proposal(**changed: str) -> str:
    values = {
        "encryption_algorithm": "aes 256",
        "hash_algorithm": "sha256",
        "authentication_method": "rsasig",
        "dh_group": "14",
        **changed,
    }
    statements = " ".join(f"{name} {value};" for name, value in values.items() if value)
    return f"remote anonymous {{ exchange_mode main; proposal {{ {statements} }} }}"


def sainfo(head: str = "anonymous", body: str = BODY) -> str:
    return f"sainfo {head} {{ {body} }}"


ACCEPTED = [
    KNOWN_GOOD,
    "",
    "# only a comment",
    'path include "/etc/racoon"; include "remote/*.conf";',
    'include "/etc/racoon/remote/*.conf";',
    *(f'path {kind} "/a";' for kind in ("certificate", "include", "pre_shared_key", "script", "backupsa", "pidfile")),
    "listen { }",
    "listen { isakmp 192.0.2.1; }",
    "listen { isakmp_natt 192.0.2.1[4500]; }",
    "listen { isakmp 2001:db8::1 [500]; adminsock disabled; }",
    'listen { adminsock "/run/racoon.sock" "root" "operator" 0660; }',
    "timer { counter 5; interval 10 sec; persend 1; phase1 30 seconds; phase2 1 min; natt_keepalive 0 sec; }",
    "gss_id_enc latin1;",
    "gss_id_enc utf-16le;",
    remote(),
    remote(head="anonymous [4500]"),
    remote(head="192.0.2.1"),
    remote(head="192.0.2.1 [41500]"),
    remote(head="192.0.2.1[41500]"),
    remote(head="2001:db8::1"),
    remote(head="fe80::1%eth0 [500]"),
    remote("remote_address 192.0.2.1 [4500];", head='"macbook"'),
    remote(head="192.0.2.1") + " remote 192.0.2.2 inherit 192.0.2.1;",
    remote(head="192.0.2.1") + " remote 192.0.2.2 inherit 192.0.2.1 { passive on; }",
    remote("remote_address 192.0.2.1;", head='"a"') + ' remote "b" inherit "a" { remote_address 192.0.2.2; }',
    f"remote anonymous {{ exchange_mode main, aggressive base; {PROPOSAL} }}",
    *(
        remote(f"my_identifier {identity};")
        for identity in (
            "address",
            'address "192.0.2.1"',
            'fqdn "imac.bob.example"',
            'user_fqdn "bob@bob.example"',
            'user_fqdn "dns:imac.bob.example"',
            'keyid "k"',
            'keyid tag "k"',
            'keyid file "/etc/k"',
            'asn1dn "O=rc, CN=a"',
        )
    ),
    remote('my_identifier asn1dn; certificate_type x509 "/a.pem" "/a.key";'),
    remote('certificate_type x509 "/a.pem" "/a.key"; my_identifier asn1dn;'),
    remote('peers_identifier fqdn "a"; peers_identifier asn1dn "O=*, CN=b"; verify_identifier on;'),
    remote('certificate_type plain_rsa "/a.key";'),
    *(remote(f"peers_certfile {value};") for value in ('x509 "/b.pem"', 'plain_rsa "/b.pub"', "dnssec", '"/b.pem"')),
    *(remote(f"nat_traversal {value};") for value in ("on", "off", "force")),
    *(remote(f"generate_policy {value};") for value in ("on", "off", "require", "unique")),
    *(remote(f"proposal_check {value};") for value in ("obey", "strict", "claim", "exact")),
    *(remote(f"rekey {value}; ike_frag {value};") for value in ("on", "off", "force")),
    remote("dpd on; dpd_delay 20; dpd_retry 5; dpd_maxfail 5; nonce_size 16; ph1id 7; esp_frag 552;"),
    remote("passive on; support_proxy on; mode_cfg off; weak_phase1_check off; initial_contact on; match_empty_cr on;"),
    remote("send_cert on; send_cr off; verify_cert on; doi ipsec_doi; situation identity_only;"),
    remote('script "/etc/up" phase1_up; script "/etc/down" phase1_down;'),
    *(proposal(encryption_algorithm=value) for value in ("aes", "aes 128", "aes 192", "camellia 256", "3des", "des")),
    *(proposal(hash_algorithm=value) for value in ("md5", "sha1", "sha256", "sha384", "sha512")),
    *(proposal(dh_group=value) for value in ("1", "2", "5", "14", "18", "modp768", "modp8192")),
    *(proposal(authentication_method=value) for value in ("pre_shared_key", "hybrid_rsa_client", "xauth_psk_server")),
    proposal(authentication_method="gssapi_krb", gss_id='"host/imac"'),
    proposal(lifetime="time 15 min"),
    sainfo(),
    sainfo("anonymous clientaddr"),
    sainfo("address 198.51.100.1 any address 198.51.100.2 any"),
    sainfo("address fd00::1 any address fd00::2 any"),
    sainfo("subnet ::/0 any subnet fd00::/48 any"),
    sainfo("address 192.0.2.1 [any] icmp address 192.0.2.2 47"),
    sainfo("address 192.0.2.1/32[80] tcp anonymous"),
    sainfo("address-range 192.0.2.1-192.0.2.9 any anonymous"),
    sainfo("address-range 192.0.2.1 -192.0.2.9 any anonymous"),
    sainfo('fqdn "a.example" address fd00::2 icmp6'),
    sainfo('anonymous from fqdn "a.example"'),
    sainfo('anonymous group "staff"'),
    sainfo(body=f"pfs_group 2; lifetime time 10 min; remoteid 7; {BODY}"),
    sainfo(body=BODY.replace("aes 256", "aes 256, aes 128, 3des").replace("sha512", "sha512, hmac_sha1")),
    sainfo() + sainfo('anonymous from fqdn "a.example"') + sainfo("address fd00::1 any address fd00::2 any"),
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str) -> None:
    check(text)


REFUSED_BY_RACOON = [
    ("remote anonymous { exchange_mode main; passive yes; }", "on, off"),
    (remote("passive no;"), "on, off"),
    ("timer { natt_keepalive 15; }", "unit"),
    ("timer { natt_keepalive 1 day; }", "unit"),
    ("remote anonymous { " + PROPOSAL + " }", "no exchange_mode"),
    ("remote anonymous { exchange_mode main; }", "no proposal"),
    (remote(head="192.0.2.0/24"), "no address"),
    (remote(head='"macbook" [500]'), "{"),
    (remote("remote_address 192.0.2.1;", head="192.0.2.2"), "remote_address"),
    (remote() + " remote 192.0.2.1 inherit anonymous;", "inherit"),
    ("remote 192.0.2.1 inherit 192.0.2.9;", "inherit"),
    (remote("my_identifier fqdn imac.example;"), "quotes"),
    (remote("my_identifier asn1dn;"), "certificate_type"),
    (remote('certificate_type x509 "/a.pem";'), "private key"),
    (remote('ca_type "/ca.pem";'), "x509"),
    (remote("dpd_delay 20 sec;"), "unit"),
    (remote("lifetime byte 5 MB;"), "time"),
    (remote("dh_group 14;"), "statement of remote"),
    *((proposal(dh_group=value), "group") for value in ("19", "24", "ecp256", "x25519")),
    (proposal(encryption_algorithm="aes_gcm"), "cipher"),
    (proposal(encryption_algorithm="3des 192"), "key of 192"),
    (proposal(encryption_algorithm="aes 100"), "key of 100"),
    (proposal(hash_algorithm="hmac_sha256"), "value"),
    *((proposal(**{name: ""}), f"no {name}") for name in ("encryption_algorithm", "hash_algorithm", "dh_group")),
    (proposal(authentication_method=""), "no authentication_method"),
    (proposal(gss_id='"x"'), "gssapi_krb"),
    (proposal(authentication_method="", gss_id='"x"; authentication_method gssapi_krb'), "gssapi_krb"),
    (
        f"remote anonymous {{ exchange_mode aggressive; {PROPOSAL} {PROPOSAL.replace('14', '2')} }}",
        "one dh_group",
    ),
    (sainfo("anonymous anonymous"), "once"),
    (sainfo("address 192.0.2.1 address 192.0.2.2"), "protocol"),
    (sainfo("address 192.0.2.1 icmp6 anonymous"), "ICMP"),
    (sainfo("address fd00::1 icmp anonymous"), "ICMP"),
    (sainfo("address 192.0.2.1 [80] icmp anonymous"), "no ports"),
    (sainfo('asn1dn "CN=a" anonymous'), "end of sainfo"),
    (sainfo("address fd00::1 any address fd00::2 any") * 2, "already"),
    (sainfo(body=f"pfs_group none; {BODY}"), "group"),
    (sainfo(body=f"lifetime byte 5 MB; {BODY}"), "time"),
    (sainfo(body=BODY.replace("hmac_sha512", "sha512")), "hmac_sha512"),
    (sainfo(body=BODY.replace("compression_algorithm deflate;", "")), "no compression_algorithm"),
    (sainfo(body=BODY.replace("aes 256;", "aes 256 aes 128;")), ";"),
    ('include "remote/*.conf";', "relative"),
    ("listen { admin [5000]; }", "statement of listen"),
    ("gss_id_enc ascii;", "utf-16le"),
    (remote('shared_secret keychain "dns:a";'), "statement of remote"),
    (remote("disconnect_on_idle idle_timeout 600 idle_direction idle_outbound;"), "statement of remote"),
    (remote('certificate_verification sec_framework "a";'), "statement of remote"),
    ('vpn_control { "/var/run/vpncontrol.sock"; }', "a statement can't be"),
    ("/* a comment */", "#"),
    ('path certificate "/a"', ";"),
    ("listen { strict_address;", "}"),
]

TAKEN_BY_RACOON_AND_MISUNDERSTOOD = [
    (sainfo("subnet ::/200 any anonymous"), "prefix"),
    (proposal(encryption_algorithm="aes256"), "aes 256"),
    (remote() + remote(), "already on line"),
    (remote(head="192.0.2.1") + remote(head="192.0.2.1 [500]"), "already on line"),
    (remote(head="2001:db8::1") + remote(head="2001:DB8:0::1"), "already on line"),
    (sainfo() + sainfo(), "already on line"),
    (remote("exchange_mode aggressive;"), "already on line"),
    (remote("my_identifier subnet;"), "subnet"),
    (remote("peers_identifier asn1dn;"), "without a name"),
    ("listen { isakmp_natt 192.0.2.1; }", "[4500]"),
    ("listen { isakmp_natt 2001:db8::1 [4500]; }", "IPv4 sockets"),
    (remote("nat_traversal force;", head="2001:db8::1"), "nat_traversal off"),
    (remote("nat_traversal on; remote_address 2001:db8::1;", head='"a"'), "nat_traversal off"),
    ("listen { isakmp 192.0.2.1; isakmp 192.0.2.1 [500]; }", "already on line"),
    (remote('certificate_type x509 "a.pem" "a.key";'), "path certificate"),
    ("listen { ยง strict_address; }", "statement"),
    ('path certificate "/a;\n";', "end on its line"),
]


@pytest.mark.parametrize(("text", "said"), [*REFUSED_BY_RACOON, *TAKEN_BY_RACOON_AND_MISUNDERSTOOD])
def test_refused(text: str, said: str) -> None:
    with pytest.raises(RacoonError) as caught:
        check(text)
    assert said in str(caught.value)


def test_an_error_names_line_cause_and_fix() -> None:
    with pytest.raises(RacoonError) as caught:
        check("timer { }\nlisten {\n  isakmp_natt 192.0.2.1;\n}")
    assert str(caught.value) == (
        "line 3: racoon would listen for isakmp_natt at 192.0.2.1 on port 500: write [4500] after it"
    )


@pytest.mark.parametrize(
    "missing",
    ["/etc/racoon/certs", "/etc/racoon/certs/a.pem", "/etc/racoon/certs/a.key", "/etc/racoon/certs/ca.pem"],
)
def test_a_missing_file(missing: str) -> None:
    with pytest.raises(RacoonError, match=f"there is no file {missing}:"):
        check(KNOWN_GOOD, lambda path: path != missing)


def test_an_include_that_fits_nothing() -> None:
    with pytest.raises(RacoonError, match=r"there is no file /etc/racoon/remote/\*.conf"):
        check('path include "/etc/racoon"; include "remote/*.conf";', lambda path: "*" not in path)


def test_files_that_racoon_makes_need_not_be_there() -> None:
    check('path pidfile "/run/racoon.pid"; path backupsa "/var/sa";', lambda _: False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (remote('peers_certfile "/b.pem";'), "x509"),
        (remote("esp_frag 552;"), "esp_frag"),
        (remote('my_identifier asn1dn "CN=a"; certificate_type x509 "/a" "/b";'), "leave it out"),
        (remote('peers_identifier fqdn "a";'), "verify_identifier on"),
        (sainfo(body=BODY.replace("512", "256")), "96 bits"),
    ],
)
def test_notes(text: str, said: str) -> None:
    (note,) = check(text)
    assert said in note.text
    assert note.line == 1


def test_the_known_good_file_needs_no_note() -> None:
    assert check(KNOWN_GOOD) == ()


WORDS = sorted({word for text in ACCEPTED for word in text.replace(";", " ; ").split()})


@given(st.one_of(st.text(), st.lists(st.sampled_from([*WORDS, "{", "}", "[1]", "/*", '"']), max_size=40).map(" ".join)))
def test_nothing_but_racoon_error(text: str) -> None:
    try:
        check(text)
    except RacoonError as error:
        assert error.line >= 1  # noqa: PT017 - an error is no duty


@given(st.integers(0, len(KNOWN_GOOD) - 1), st.integers(1, 20))
def test_known_good_with_a_hole(start: int, length: int) -> None:
    try:
        check(KNOWN_GOOD[:start] + KNOWN_GOOD[start + length :])
    except RacoonError as error:
        assert 1 <= error.line <= KNOWN_GOOD.count("\n") + 1  # noqa: PT017
