# SPDX-License-Identifier: GPL-3.0-or-later
"""The page in a real browser: what a person sees, hears from a screen reader, and reaches by the keyboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import Browser, browsing
from watcher.page.server import PageServer

from .conftest import ZONE, host

NAMES = "[...document.querySelectorAll('.host h3')].map((each) => each.textContent).join()"
FOCUS = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing("--host-resolver-rules=MAP evil.example 127.0.0.1") as started:
        yield started


@pytest.fixture
def opened(browser: Browser, served: PageServer) -> Browser:
    """Open the page with two hosts on it."""
    show(served, host("imac", "Bob's iMac"), host("mini", "Bob's mini", icon="small"))
    browser.complaints.clear()
    browser.asked.clear()
    assert browser.open(served.url) == 200
    browser.until(f"{NAMES} === \"Bob's iMac,Bob's mini\"", "two hosts")
    return browser


def show(served: PageServer, *hosts: dict[str, object], fault: str | None = None) -> None:
    served.board.show(ZONE, hosts=list(hosts), follow="push", fault=fault)


def news(browser: Browser) -> list[str]:
    told: list[str] = browser.value("[...document.querySelectorAll('#news p')].map((each) => each.textContent)")
    return told


def test_a_screen_reader_finds_its_way(opened: Browser) -> None:
    tree = opened.tree()
    for landmark in (("banner", ""), ("main", "Hosts of the fleet"), ("region", ZONE), ("log", "Changes")):
        assert landmark in tree
    assert [name for role, name in tree if role == "heading"] == ["Your fleet", ZONE, "Bob's iMac", "Bob's mini"]
    assert ("list", "Services of Bob's iMac") in tree
    assert ("link", "Terminal, Bob's iMac") in tree
    assert ("StaticText", "No tunnel, opens when asked for") in tree  # not by color alone
    assert not any(role == "image" and not name for role, name in tree)
    levels = opened.value("[...document.querySelectorAll('h1,h2,h3')].map((each) => each.localName).join()")
    assert levels == "h1,h2,h3,h3"


def test_services_are_links_and_unknown_ones_are_text(opened: Browser) -> None:
    assert opened.value("[...document.querySelectorAll('.services a')].map((each) => each.href)") == [
        f"ssh://imac.{ZONE}",
        f"ssh://mini.{ZONE}",
    ]
    assert opened.value("document.querySelector('.services span').textContent") == "_ipp._tcp: Color port 631"


def test_each_host_has_its_picture(opened: Browser) -> None:
    drawn = "[...document.querySelectorAll('.picture')].map((each) => each.getBBox().width > 0 && each.innerHTML)"
    assert [icon.split('"')[1] for icon in opened.value(drawn)] == ["#icon-all-in-one", "#icon-small"]


def test_every_link_is_reached_by_tab_in_order_and_the_first_one_skips(opened: Browser, served: PageServer) -> None:
    reached = []
    for _ in range(3):
        opened.press("Tab")
        reached.append(opened.value("document.activeElement.getAttribute('aria-label') ?? document.activeElement.text"))
        assert opened.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == ["Skip to the hosts", "Terminal, Bob's iMac", "Terminal, Bob's mini"]
    opened.open(served.url)
    opened.until("document.querySelector('.host')", "the hosts")
    opened.press("Tab")
    opened.press("Enter")
    opened.until(f"{FOCUS} === 'Hosts of the fleet'", "the hosts are skipped to")


def test_a_change_is_seen_and_told_and_takes_no_focus(opened: Browser, served: PageServer) -> None:
    opened.press("Tab")
    opened.press("Tab")
    assert opened.value(FOCUS) == "Terminal, Bob's iMac"
    assert news(opened) == []  # how things are at first is no news
    up = host("imac", "Bob's iMac", state="tunnel", rung="relayed", outer="203.0.113.10:40001")
    show(served, host("cube", "Alice's Cube"), up)
    opened.until(f"{NAMES} === \"Alice's Cube,Bob's iMac\"", "one came, one went")
    assert news(opened) == [
        "Alice's Cube is here",
        "Bob's iMac: Tunnel is up, through the relay",
        "Bob's mini is gone",
    ]
    assert opened.value(FOCUS) == "Terminal, Bob's iMac"
    told = opened.value("document.querySelector('[data-state=tunnel]').innerText")
    for text in ("Tunnel is up", "through the relay", "203.0.113.10:40001", "now"):
        assert text in told


def test_a_focus_that_goes_with_its_host_is_not_lost(opened: Browser, served: PageServer) -> None:
    for _ in range(3):
        opened.press("Tab")
    assert opened.value(FOCUS) == "Terminal, Bob's mini"
    show(served, host("imac", "Bob's iMac", services=[]))
    opened.until(f'{NAMES} === "Bob\'s iMac"', "the mini has left")
    assert opened.value(FOCUS) == "Hosts of the fleet"
    assert "Bob's iMac no longer offers Terminal" in news(opened)


def test_what_other_hosts_write_is_text(opened: Browser, served: PageServer) -> None:
    title = "<img src=x onerror=alert(1)>\u202e'\"&"
    odd = {"type": "_x._tcp", "label": "_x._tcp", "title": title, "port": 1, "url": "javascript:document.title='owned'"}
    show(served, host("imac", title, model=title, services=[odd]))
    opened.until("document.querySelector('.host .model dd').textContent.includes('onerror')", "the odd host")
    assert opened.value(NAMES) == title
    assert opened.value("document.querySelectorAll('img').length") == 0
    assert opened.complaints == []
    opened.value("document.querySelector('.services a').click()")
    opened.until_complaint("Content Security Policy")
    assert opened.value("document.title").startswith("Fleet")


def test_a_fault_is_shown_beside_what_was_known_last(opened: Browser, served: PageServer) -> None:
    show(served, host("imac", "Bob's iMac"), fault="the zone server does not answer: check that it runs")
    opened.until("!document.querySelector('.fault').hidden", "the fault")
    assert "check that it runs" in opened.value("document.querySelector('.fault').innerText")
    assert opened.value(NAMES) == "Bob's iMac"
    assert news(opened) == ["Bob's mini is gone", "the zone server does not answer: check that it runs"]
    show(served, host("imac", "Bob's iMac"))
    opened.until("document.querySelector('.fault').hidden", "it is well again")


def test_the_zones_of_two_owners_stand_side_by_side(opened: Browser, served: PageServer) -> None:
    served.board.show("alice.members.example", hosts=None, follow="polling", fault=None)
    opened.until("document.querySelectorAll('section').length === 2", "the second zone")
    assert [name for role, name in opened.tree() if role == "region"] == ["alice.members.example", ZONE]
    assert "Looking at the zone" in opened.value("document.querySelector('section').innerText")
    opened.until("document.getElementById('live').textContent.includes('Asking every few seconds; Live')", "how")


def test_it_asks_for_nothing_but_its_own_files(opened: Browser, served: PageServer) -> None:
    assert sorted(opened.asked) == sorted(served.url + file for file in ("", "page.css", "page.js", "events"))
    assert opened.complaints == []


def test_a_page_of_another_name_that_leads_here_gets_nothing(browser: Browser, served: PageServer) -> None:
    url = f"http://evil.example:{served.server_port}/{served.token}/"
    assert browser.open(url) == 403
    fetched = f"fetch('{served.url}events').then(() => 'read', () => 'refused')"
    assert browser.value(fetched) == "refused"


def test_it_is_readable_on_a_telephone_and_in_the_dark(opened: Browser) -> None:
    opened.call("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=1, mobile=False)
    opened.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    try:
        assert opened.value("document.documentElement.scrollWidth") <= 320  # WCAG 2.2, 1.4.10
        assert opened.value(CONTRAST) >= 4.5  # 1.4.3
    finally:
        opened.call("Emulation.setEmulatedMedia", features=[])
        opened.call("Emulation.clearDeviceMetricsOverride")
    assert opened.value(CONTRAST) >= 4.5


# The least contrast of any text with the ground that it stands on (WCAG 2.2, "contrast ratio").
CONTRAST = """
(() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).slice(0, 3).map((each) => each / 255)
      .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return parts(color)[3] === 0 ? ground(element.parentElement) : color;
  };
  const ratios = [...document.body.querySelectorAll("*")]
    .filter((each) => each.checkVisibility())
    .filter((each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((each) => [light(getComputedStyle(each).color), light(ground(each))])
    .map(([text, under]) => (Math.max(text, under) + 0.05) / (Math.min(text, under) + 0.05));
  return Math.min(...ratios);
})()
"""
