# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon is told in JSON files: read and checked, with the file, the key and the fix in every error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

import dns.exception
import dns.name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")


class BadSetting(Exception):
    """A file is missing, unreadable or wrong; one sentence with file, cause and fix."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One JSON object; `fix` says what its reader shall do when it is wrong."""

    path: Path
    values: Mapping[str, Any]
    fix: str

    def get(self, key: str, convert: Callable[[Any], T]) -> T:
        """Return what `convert` makes of a value that has to be there.

        Raises:
            BadSetting: it is not there, or `convert` does not take it (ValueError, TypeError).
        """
        if key not in self.values:
            raise BadSetting(f"{self.path} has no {key!r}: {self.fix}")
        try:
            return convert(self.values[key])
        except (ValueError, TypeError) as err:
            raise BadSetting(f"{self.path} has a wrong {key!r} ({err}): {self.fix}") from err

    def below(self, key: str) -> Settings:
        """Return the object that a value is."""
        return Settings(self.path, self.get(key, is_a(dict)), self.fix)


def read_json(path: Path, fix: str, missing: object = None) -> Any:  # noqa: ANN401 - JSON
    """Return what a file holds; `missing`, unless that is None, where there is no such file.

    Raises:
        BadSetting: it can't be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if missing is None:
            raise BadSetting(f"{path} does not exist: {fix}") from None
        return missing
    except (OSError, ValueError) as err:
        raise BadSetting(f"{path} can't be read ({err}): {fix}") from err


def is_a(kind: type[T]) -> Callable[[Any], T]:
    """Return a converter that takes values of one type, but none that is empty."""

    def convert(value: object) -> T:
        if not isinstance(value, kind) or not value:
            raise TypeError(f"expected a {kind.__name__}, got {value!r}")
        return value

    return convert


def addresses(value: object) -> tuple[str, ...]:
    """Convert a list of IP addresses, of which there is at least one."""
    if not isinstance(value, list) or not value:
        raise TypeError("expected a list of addresses")
    return tuple(str(ip_address(item)) for item in value)


def port(value: object) -> int:
    """Convert a TCP or UDP port."""
    if not isinstance(value, int) or not 0 < value < 65536:
        raise ValueError(f"{value!r} is not a port")
    return value


def domain_name(value: object) -> dns.name.Name:
    """Convert a domain name."""
    try:
        return dns.name.from_text(str(value))
    except dns.exception.DNSException as err:
        raise ValueError(f"{value!r} is not a name") from err
