// The demonstration site's own script. It stands before the tracking script and shows what that one sends, by listening at sendBeacon.
"use strict";

const sendBeacon = navigator.sendBeacon.bind(navigator);
const shown = [];

function showSent() {
  const place = document.getElementById("sent");
  if (place && shown.length) place.textContent = shown.map((body) => JSON.stringify(JSON.parse(body), null, 2)).join("\n\n");
}

navigator.sendBeacon = (url, body) => {
  const taken = sendBeacon(url, body);
  shown.unshift(body);
  showSent();
  return taken;
};

/** The page of the small site that the address names; a move between them loads nothing. */
function showPage() {
  const path = location.pathname.replace(/\/$/, "");
  for (const section of document.querySelectorAll("[data-page]")) section.hidden = section.dataset.page !== path;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.pathname === path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function showChoice() {
  const place = document.getElementById("choice");
  if (place) place.textContent = window.headcount?.optedOut() ? "This browser is not counted here. That is all it remembers." : "This browser is counted, without an id that lasts.";
}

function go(event) {
  event.preventDefault();
  history.pushState(null, "", event.currentTarget.href);
  showPage();
  scrollTo(0, 0);
}

function sendEvent({ currentTarget: { dataset } }) {
  headcount(dataset.event, { props: { plan: dataset.plan }, value: dataset.value && Number(dataset.value), currency: dataset.currency });
}

addEventListener("popstate", showPage);
addEventListener("DOMContentLoaded", () => {
  const onClick = (selector, action) => document.querySelectorAll(selector).forEach((element) => element.addEventListener("click", action));
  onClick("[data-spa]", go);
  onClick("[data-event]", sendEvent);
  onClick("button[data-consent]", (event) => headcount.consent(event.currentTarget.dataset.consent));
  onClick("#out", () => (headcount.optOut(), showChoice()));
  onClick("#in", () => (headcount.optIn(), showChoice()));
  showPage();
  showChoice();
  showSent();
});
