# SPDX-License-Identifier: GPL-3.0-or-later
"""`btmm page` on an enrolled host behind a NAT, in a real browser on that host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser import Browser, browsing
from tests.e2e import proof
from tests.e2e.fleet import CommandFailed, Fleet
from tests.e2e.proof import ZONE

UNIT = "rehearsal-page"
TITLES = "[...document.querySelectorAll('.host h3')].map((each) => each.textContent)"
ALL = "Bob's MacBook,Bob's iMac,Bob's mini"


def host(label: str) -> str:
    """Return the JavaScript for a host's place on the page."""
    return f"document.querySelector('[data-key=\"{label}.{ZONE}\"]')"


@contextmanager
def page(fleet: Fleet, *properties: str) -> Iterator[str]:
    """Serve the page on macbook as a service of its own; yield the address that it prints."""
    output = f"/run/{UNIT}.out"
    options = [
        f"--property={each}" for each in (f"StandardOutput=truncate:{output}", "StandardError=journal", *properties)
    ]
    fleet.on("macbook", "systemd-run", "--quiet", "--collect", f"--unit={UNIT}", *options, "btmm", "page")
    try:
        deadline = time.monotonic() + 60
        while not (url := fleet.shell("macbook", f"cat {output} 2>/dev/null || true").strip()):
            assert time.monotonic() < deadline, fleet.on("macbook", "journalctl", "--unit", UNIT, "--no-pager")
            time.sleep(0.2)
        yield url
    finally:
        fleet.shell("macbook", f"systemctl stop {UNIT} 2>/dev/null || true; rm {output}")


@pytest.fixture(scope="module")
def browser(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start a browser where macbook is, with macbook's resolver.

    Without an IPv6 route to the Internet Chromium asks for no IPv6 address at all, unless it is told to.
    """
    resolver = tmp_path_factory.mktemp("page") / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.53\n")
    enter = ["ip", "netns", "exec", f"btmm-{fleet.name}-macbook"]  # with mounts of its own (ip-netns(8))
    mount = ["bash", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(resolver)]
    option = "--enable-features=EnableIPv6ReachabilityOverride"
    with browsing(option, prefix=[*enter, *mount], patience_s=60) as started:
        yield started


def opened(browser: Browser, url: str) -> None:
    assert browser.open(url) == 200
    browser.until(f'{TITLES}.sort().join() === "{ALL}"', "all hosts are there")


def test_a_click_on_a_service_opens_its_tunnel_and_the_page_shows_it(fleet: Fleet, browser: Browser) -> None:
    proof.drop_tunnels(fleet, "macbook", "imac", "mini")
    with page(fleet) as url:
        opened(browser, url)
        browser.until("document.getElementById('live').textContent.startsWith('Live')", "by Push")
        assert "This host" in browser.value(f"{host('macbook')}.innerText")
        browser.until(f"{host('imac')}.innerText.includes('No tunnel')", "no tunnel")
        assert not fleet.on("macbook", "swanctl", "--list-sas").strip()  # looking opens none
        browser.value(f"{host('imac')}.querySelector('a[href^=http]').focus()")
        browser.press("Enter")
        browser.until("document.body.innerText.includes('This is imac')", "imac's own page")
        opened(browser, url)
        browser.until(f"{host('imac')}.innerText.includes('Tunnel is up')", "the tunnel")
        shown = browser.value(f"{host('imac')}.innerText")
        assert "direct" in shown
        assert proof.WAN["imac"] in shown


def test_who_leaves_and_comes_back_is_told_by_push(fleet: Fleet, browser: Browser) -> None:
    with page(fleet) as url:
        opened(browser, url)
        browser.until("document.getElementById('live').textContent.startsWith('Live')", "by Push")
        fleet.on("mini", "btmm", "sleep")
        try:
            browser.until(f"!{host('mini')} || {host('mini')}.dataset.state === 'unreachable'", "mini leaves")
        finally:
            fleet.on("mini", "btmm", "resume")
        browser.until(f"{host('mini')} && {host('mini')}.dataset.state !== 'unreachable'", "mini is back")
        told = browser.value("document.getElementById('news').innerText")
        assert "Bob's mini" in told
        fleet.on("macbook", "systemctl", "stop", UNIT)
        browser.until("document.getElementById('live').textContent.includes('still running')", "the command's end")
    fleet.on("mini", "btmm", "wait")


def test_root_is_given_up_and_the_key_is_out_of_reach(fleet: Fleet) -> None:
    with page(fleet) as url:
        number = fleet.on("macbook", "systemctl", "show", "--property=MainPID", "--value", UNIT).strip()
        told = dict(line.split(":\t", 1) for line in fleet.on("macbook", "cat", f"/proc/{number}/status").splitlines())
        assert set(told["Uid"].split() + told["Gid"].split()) == {"65534"}
        assert (told["Groups"].strip(), int(told["CapEff"], 16)) == ("", 0)
        # Who may not see a process's environment may not read its memory either (ptrace(2)).
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        with pytest.raises(CommandFailed, match="Permission denied"):
            fleet.on("macbook", *user, "cat", f"/proc/{number}/environ")
        token = url.split("/")[3]
        assert token not in fleet.on("macbook", "cat", f"/proc/{number}/cmdline")
        assert token not in fleet.on("macbook", "journalctl", "--unit", UNIT, "--no-pager")


def test_a_user_without_the_key_sees_the_same_a_little_later(fleet: Fleet, browser: Browser, tmp_path: Path) -> None:
    with page(fleet, "User=nobody") as url:
        opened(browser, url)
        assert browser.value("document.getElementById('live').textContent") == "Asking every few seconds"
        fleet.on("macbook", "journalctl", "--sync")
        assert "sudo btmm page" in fleet.on("macbook", "journalctl", "--unit", UNIT, "--no-pager")
        fleet.on("macbook", "btmm", "connect", "imac")
        browser.until(f"{host('imac')}.innerText.includes('Tunnel is up')", "the tunnel")
        browser.picture(tmp_path / "page.png", 1000, 700)
        assert (tmp_path / "page.png").stat().st_size > 10_000
