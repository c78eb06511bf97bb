"use strict";

// What the server tells is shown by textContent and attributes alone: titles and models were written by other hosts.

const STATES = {
  here: "This host",
  tunnel: "Tunnel is up",
  idle: "No tunnel, opens when asked for",
  unreachable: "Not to be reached now",
};
const WAYS = {
  lan: "on this network",
  direct6: "direct, by IPv6",
  direct: "direct",
  mediated: "direct, brought together by the zone host",
  relayed: "through the relay",
};
const METHODS = { push: "Live: told of each change at once", llq: "Live: told of each change at once",
  polling: "Asking every few seconds" };
const AGES = [["day", 86400], ["hour", 3600], ["minute", 60]];
const AGES_AGAIN_MS = 30000;
const NEWS_KEPT = 20;

const byId = (id) => document.getElementById(id);
const ages = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
let before = null;
let faults = new Set();

function say(element, text) {
  // What stays the same is left alone, so that no screen reader reads it again.
  if (element.textContent !== text) element.textContent = text;
  return element;
}

function describe(host, part, text) {
  const row = host.querySelector(part);
  row.hidden = !text;
  say(row.querySelector("dd"), text || "");
}

// Bring a list's children in line with what is wanted, by key; what stays is not moved, and so keeps the focus.
function arrange(list, wanted, key, make, update) {
  const held = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const keys = new Set(wanted.map(key));
  for (const [name, child] of held) {
    if (keys.has(name)) continue;
    if (child.contains(document.activeElement)) byId("fleet").focus();
    child.remove();
  }
  let next = list.firstElementChild;
  for (const each of wanted) {
    let child = held.get(key(each));
    if (!child) {
      child = make(each);
      child.dataset.key = key(each);
    }
    if (child === next) next = next.nextElementSibling;
    else list.insertBefore(child, next);
    update(child, each);
  }
}

const stamp = (id) => byId(id).content.firstElementChild.cloneNode(true);
const serviceKey = (service) => `${service.type} ${service.title ?? ""}`;
const serviceName = (service) => (service.title ? `${service.label}: ${service.title}` : service.label);

function showService(item, service, host) {
  const kind = service.url ? "a" : "span";
  let shown = item.firstElementChild;
  if (!shown || shown.localName !== kind) {
    shown = document.createElement(kind);
    item.replaceChildren(shown);
  }
  say(shown, service.url ? serviceName(service) : `${serviceName(service)} port ${service.port}`);
  if (!service.url) return;
  if (shown.getAttribute("href") !== service.url) shown.setAttribute("href", service.url);
  // Links are read out of their surroundings, too: with the host's name, after the text that is seen.
  shown.setAttribute("aria-label", `${serviceName(service)}, ${host.title}`);
  shown.title = service.url;
}

function showHost(item, host) {
  item.dataset.state = host.state;
  const heading = say(item.querySelector("h3"), host.title);
  heading.id = `host-${host.name}`;
  item.setAttribute("aria-labelledby", heading.id);
  say(item.querySelector(".name"), host.name);
  say(item.querySelector(".state"), STATES[host.state]);
  const use = item.querySelector("use");
  if (use.getAttribute("href") !== `#icon-${host.icon}`) use.setAttribute("href", `#icon-${host.icon}`);
  describe(item, ".way", WAYS[host.rung] || host.rung);
  describe(item, ".outer", host.outer);
  describe(item, ".model", host.model);
  showAge(item.querySelector("time"), host);
  const services = item.querySelector(".services");
  services.setAttribute("aria-label", `Services of ${host.title}`);
  services.hidden = host.services.length === 0;
  arrange(services, host.services, serviceKey, () => stamp("service-template"),
    (child, service) => showService(child, service, host));
}

function showAge(time, host) {
  time.closest(".seen").hidden = !host.seen && !["here", "tunnel"].includes(host.state);
  time.dateTime = host.seen || "";
  time.dataset.now = ["here", "tunnel"].includes(host.state) ? "yes" : "";
  tellAge(time);
}

function tellAge(time) {
  const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
  const [unit, length] = AGES.find(([, each]) => Math.abs(seconds) >= each) || AGES.at(-1);
  time.title = time.dateTime ? new Date(time.dateTime).toLocaleString() : "";
  say(time, time.dataset.now ? "now" : time.dateTime ? ages.format(Math.round(seconds / length), unit) : "");
}

function showZone(section, zone) {
  const heading = say(section.querySelector("h2"), zone.zone);
  heading.id = `zone-${zone.zone}`;
  section.setAttribute("aria-labelledby", heading.id);
  const fault = section.querySelector(".fault");
  fault.hidden = !zone.fault;
  say(fault, zone.fault || "");
  const empty = section.querySelector(".empty");
  empty.hidden = Boolean(zone.hosts?.length) || Boolean(zone.fault);
  say(empty, zone.hosts ? "No host is in this zone now." : "Looking at the zone…");
  arrange(section.querySelector(".hosts"), zone.hosts || [], (host) => host.name, () => stamp("host-template"), showHost);
}

// Sentences for what is different now, for those who do not see it.
function changes(then, now) {
  const found = [];
  for (const [name, host] of now) {
    const former = then.get(name);
    if (!former) {
      found.push(`${host.title} is here`);
      continue;
    }
    if (former.state !== host.state || former.rung !== host.rung) {
      found.push(`${host.title}: ${STATES[host.state]}${host.rung ? `, ${WAYS[host.rung] || host.rung}` : ""}`);
    }
    const offered = new Set(former.services.map(serviceKey));
    const offers = new Set(host.services.map(serviceKey));
    for (const service of host.services) {
      if (!offered.has(serviceKey(service))) found.push(`${host.title} offers ${serviceName(service)}`);
    }
    for (const service of former.services) {
      if (!offers.has(serviceKey(service))) found.push(`${host.title} no longer offers ${serviceName(service)}`);
    }
  }
  for (const [name, host] of then) if (!now.has(name)) found.push(`${host.title} is gone`);
  return found;
}

function announce(sentences) {
  const news = byId("news");
  for (const sentence of sentences) news.append(say(document.createElement("p"), sentence));
  while (news.children.length > NEWS_KEPT) news.firstElementChild.remove();
}

function show(zones) {
  arrange(byId("fleet"), zones, (zone) => zone.zone, () => stamp("zone-template"), showZone);
  say(byId("live"), [...new Set(zones.map((zone) => METHODS[zone.follow]))].filter(Boolean).join("; "));
  const known = zones.every((zone) => zone.hosts);
  const now = new Map(zones.flatMap((zone) => (zone.hosts || []).map((host) => [host.name, host])));
  if (before && known) announce(changes(before, now));
  if (known) before = now;
  const wrong = new Set(zones.map((zone) => zone.fault).filter(Boolean));
  announce([...wrong].filter((fault) => !faults.has(fault)));
  faults = wrong;
}

const events = new EventSource("events");
events.onmessage = (event) => show(JSON.parse(event.data));
events.onerror = () => say(byId("live"), "Not connected: is 'btmm page' still running?");
setInterval(() => document.querySelectorAll("time").forEach(tellAge), AGES_AGAIN_MS);
