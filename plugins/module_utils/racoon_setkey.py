# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges input of setkey(8): policies only, since the associations are racoon's. setkey itself has no dry run."""

from __future__ import annotations

import re
from ipaddress import ip_address

from .racoon_lexer import RacoonError

_RANGE = re.compile(r"(?P<address>[^/\[\]]+)(?:/(?P<prefix>[0-9]{1,3}))?(?:\[(?P<port>[0-9]{1,5}|any)\])?")
_TEMPLATE = re.compile(
    r"(?P<protocol>esp|ah|ipcomp)/(?P<mode>tunnel|transport)/(?P<ends>[^/]*)/(?P<level>[a-z]+(?::[0-9]{1,5})?)"
)
_ENDS = re.compile(
    r"(?P<from>[^\[\]-]+)(?:\[(?P<from_port>[0-9]{1,5})\])?-(?P<to>[^\[\]-]+)(?:\[(?P<to_port>[0-9]{1,5})\])?"
)
_LEVEL = re.compile(r"default|use|require|unique(:[0-9]{1,5})?")
_PRIORITY = re.compile(r"[+-]?[0-9]{1,10}")
_PROTOCOLS = frozenset({"any", "tcp", "udp", "icmp", "icmp6", "gre"})
_DIRECTIONS = ("in", "out", "fwd")
_PORT_END = 65536
_MAX_PROTOCOL = 255


def check(text: str) -> None:
    """Judge a file of `spdadd`, `spddelete` and `spdflush` statements.

    Raises:
        RacoonError: setkey refuses it, or takes it and does something else.
    """
    seen: dict[tuple[str, ...], int] = {}
    for line, words in _statements(text):
        command, rest = words[0], words[1:]
        if command == "spdflush" and not rest:
            seen.clear()
        elif command in {"spdadd", "spddelete"}:
            key = _policy(line, rest, whole=command == "spdadd")
            if command == "spddelete":
                seen.pop(key, None)
                continue
            if key in seen:
                raise RacoonError(line, f"the same policy is already on line {seen[key]}", "remove one of them")
            seen[key] = line
        else:
            raise RacoonError(line, f"{' '.join(words)[:60]!r} is no policy", "write spdadd, spddelete or spdflush")


def _statements(text: str) -> list[tuple[int, list[str]]]:
    """Return each statement's first line and words."""
    found: list[tuple[int, list[str]]] = []
    start, words = 0, list[str]()
    for line, content in enumerate(text.split("\n"), 1):
        for part in re.findall(r";|[^\s;]+", content.partition("#")[0]):
            if part == ";":
                if not words:
                    raise RacoonError(line, "a ';' ends nothing", "remove it")
                found.append((start, words))
                words = []
            else:
                start = start if words else line
                words.append(part)
    if words:
        raise RacoonError(start, "the last statement has no end, and setkey would leave it out", "end it with ';'")
    return found


def _policy(line: int, words: list[str], *, whole: bool) -> tuple[str, ...]:
    """Judge a policy; returns what makes it another than the next one."""
    if words[:1] in (["-4"], ["-6"]):
        family, words = int(words[0][1]), words[1:]
    else:
        family = 0
    if len(words) < 3:
        raise RacoonError(line, "a policy has a source, a destination and a protocol", "add what is missing")
    source, destination = (_range(line, word) for word in words[:2])
    if source[1] != destination[1] or family not in {0, source[1]}:
        raise RacoonError(line, "source and destination are not of one family", "take two IPv4 or two IPv6 addresses")
    selector, rest = _protocol(line, words[2:], source[1])
    if rest[:1] != ["-P"] or rest[1:2] == [] or rest[1] not in _DIRECTIONS:
        raise RacoonError(line, "the direction is missing or unknown", "write -P in, -P out or -P fwd")
    if whole:
        _action(line, rest[2:])
    elif rest[2:]:
        raise RacoonError(line, "spddelete has something after its direction", "remove it")
    return source[0], destination[0], selector, rest[1]


def _range(line: int, word: str) -> tuple[str, int]:
    match = _RANGE.fullmatch(word)
    try:
        address = ip_address(match["address"] if match else word)
    except ValueError:
        raise RacoonError(line, f"{word!r} is no address", "write ADDRESS/PREFIX[port]") from None
    prefix = int(match["prefix"]) if match and match["prefix"] else address.max_prefixlen
    if prefix > address.max_prefixlen:
        raise RacoonError(
            line,
            f"{word!r} has a prefix that no such address has, and setkey takes it",
            f"write a length up to {address.max_prefixlen}",
        )
    port = match["port"] if match and match["port"] else "any"
    if port != "any" and int(port) >= _PORT_END:
        raise RacoonError(line, f"there is no port {port}", "write 0 to 65535")
    return f"{address}/{prefix}[{port}]", address.version


def _protocol(line: int, words: list[str], version: int) -> tuple[str, list[str]]:
    """Return the upper-layer protocol, with ICMPv6's type and code, and what comes after it."""
    protocol, rest = words[0], words[1:]
    if protocol not in _PROTOCOLS and not (re.fullmatch("[0-9]{1,3}", protocol) and int(protocol) <= _MAX_PROTOCOL):
        raise RacoonError(line, f"there is no protocol {protocol!r}", "write any, tcp, udp, icmp, icmp6 or a number")
    if protocol == ("icmp" if version == 6 else "icmp6"):
        raise RacoonError(line, f"{protocol} does not go with IPv{version}", "take the other ICMP")
    if protocol == "icmp6" and rest and re.fullmatch(r"[0-9]{1,3}(,[0-9]{1,3})?", rest[0]):
        return f"icmp6 {rest[0]}", rest[1:]
    return protocol, rest


def _action(line: int, words: list[str]) -> None:
    if words[:1] in (["prio"], ["priority"]):
        words = _after_priority(line, words[1:])
    if words == ["generate"]:
        raise RacoonError(line, "only Apple's setkey has the policy 'generate'", "write discard, or a template")
    if words in (["discard"], ["none"]):
        return
    if words[:1] != ["ipsec"] or not words[1:]:
        raise RacoonError(line, f"{' '.join(words)!r} is no action", "write discard, none, or ipsec with a template")
    for word in words[1:]:
        _template(line, word)


def _after_priority(line: int, words: list[str]) -> list[str]:
    """Read ``base``, ``base +offset`` or a number."""
    if words[:1] and words[0] in {"low", "def", "high"}:
        words = words[1:]
        return words[1:] if words and _PRIORITY.fullmatch(words[0]) else words
    if not words or not _PRIORITY.fullmatch(words[0]):
        raise RacoonError(line, "the priority has no value", "write a number, or low, def or high")
    return words[1:]


def _template(line: int, word: str) -> None:
    match = _TEMPLATE.fullmatch(word)
    if match is None or not _LEVEL.fullmatch(match["level"]):
        raise RacoonError(line, f"{word!r} is no template", "write esp/tunnel/OUTER-OUTER/require")
    if match["mode"] == "transport" and not match["ends"]:
        return
    ends = _ENDS.fullmatch(match["ends"])
    if ends is None:
        raise RacoonError(line, f"{word!r} lacks the outer addresses", "write esp/tunnel/FROM-TO/require")
    versions = {_range(line, ends["from"])[1], _range(line, ends["to"])[1]}
    if len(versions) > 1:
        raise RacoonError(line, f"the outer addresses of {word!r} are of two families", "take one family")
    if any(int(port) >= _PORT_END for port in (ends["from_port"], ends["to_port"]) if port):
        raise RacoonError(line, f"{word!r} has a port above 65535", "write 0 to 65535")
