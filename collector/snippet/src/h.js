// The tracking script: what a website loads to be counted.
//
// It sends page views, engagement and custom events to the collector that it was loaded from. What it never does: set a cookie, keep an id, store
// anything (but a visitor's own opt-out), read what tells browsers apart, load something from elsewhere, throw into the page.
//
// It sends no more than the collector looks at: of the referrer its scheme and host, of the language its first part, of the screen's width
// what tells its class.
// The page's query is sent whole, because only the collector knows which parameters the site keeps; it stores those and the campaign tags, no others.
//
// One page is on show at a time (`path`, `url`). It is counted once it is seen, and left when it is hidden, replaced or closed. Each time it is left,
// an engagement event carries the visible time since the last one, so that the sum over events is the whole time, and the deepest scroll so far, so
// that the maximum over events is the depth.
(() => {
  // What the browser and the page call must never break the page, whatever goes wrong in here.
  const safely = (action) => (...given) => {
    try {
      return action(...given);
    } catch (_) {}
  };

  safely(() => {
    const stub = window.headcount || {};
    // The real script answers to `optOut`, a stub does not: a second tag on the page must not count everything twice.
    if (stub.optOut) return;

    const { src, dataset } = document.currentScript;
    // Where another event path is configured, the collector serves this text with that path in the place of "./e".
    const endpoint = new URL(dataset.api || "./e", src);
    const debug = /headcount=debug/.test(location.search);
    const waiting = "waiting";

    let answer = stub.answer; // to the site's question for consent
    const held = stub.q || []; // calls that wait for the answer; at first those made before this script was here
    let out; // opted out in this page's life: for browsers without a storage
    let path, url, referrer; // of the page on show
    let first = true; // nothing of this document has been counted yet
    let counted; // the page on show was counted, so its engagement may follow
    let engaged, since; // visible milliseconds not sent yet, up to `since`; `since` is false while hidden
    let deepest, height; // of the page, in pixels
    let sent; // deepest scroll that was sent, in percent
    let timer;

    // A browser that forbids storage throws: then `out` alone decides.
    const optedOut = safely(() => !!(out || localStorage.headcount));

    // Sends an event, or returns why it may not be sent. Asks each time: a visitor may change their mind while the page is open.
    const send = (kind, fields) => {
      const gpc = navigator.globalPrivacyControl;
      const reason =
        optedOut() ? "opted out"
        : [navigator, window].some((place) => /^[1yt]/.test(place.doNotTrack)) ? "this browser says DNT" // "1", "yes", true
        : gpc && dataset.gpc != "count" ? "this browser says GPC"
        : answer == "granted" ? ""
        : answer ? "denied"
        : dataset.consent && waiting;
      const event = {
        site: dataset.site,
        kind,
        url: url || look(),
        referrer,
        width: (screen.width >> 5) << 5, // The bounds of the collector's screen classes are multiples of 32: nothing finer need leave the browser.
        lang: navigator.language.split("-")[0],
        consent: answer,
        gpc: gpc ? 1 : undefined,
      };
      const body = JSON.stringify(Object.assign(event, fields));
      const say = (text) => debug && console.log("headcount: " + text, body);

      if (reason) say("not sent: " + reason);
      // A string is sent as plain text: anything else would need a preflight, and a beacon that needs one is lost.
      // Nobody sees the answer to a beacon, so debugging does without it.
      else if (debug || !navigator.sendBeacon || !navigator.sendBeacon(endpoint, body))
        fetch(endpoint, { method: "POST", body, keepalive: true }).then(
          (response) => say("sent: " + response.status),
          () => say("not sent: blocked"),
        );
      return reason;
    };

    // The page's height can cost a layout: it is read once after scrolling, never during it.
    const measure = () => {
      timer = 0;
      height = document.documentElement.scrollHeight;
      deepest = Math.max(deepest, scrollY + innerHeight);
    };
    const measureSoon = () => {
      timer = timer || setTimeout(measure, 200);
    };

    // Adds the visible time up to now.
    const lap = () => {
      const now = performance.now();
      if (since) engaged += now - since;
      since = !document.hidden && now;
    };

    // The page on show is replaced or hidden. A flick to another tab makes no event: what is below a second waits for the next one.
    const leave = () => {
      if (!counted) return;
      lap();
      const depth = Math.min(100, ((deepest / height) * 100 + 0.5) | 0);
      if (depth > sent || engaged >= 1000) {
        send("engagement", { engaged_ms: engaged | 0, scroll_pct: depth });
        engaged = 0;
        sent = depth;
      }
    };

    // Where we are: the address without fragment. With `data-hash`, "#/route?query" is what the page's own router shows: it becomes the path.
    const look = () => {
      let page = location.origin + location.pathname;
      let query = location.search;
      const route = "hash" in dataset && /^#!?\/([^?]*)(.*)/.exec(location.hash);
      if (route) {
        page = page.replace(/[^/]*$/, "") + route[1];
        query += route[2].replace("?", query ? "&" : "?");
      }
      // An address over the collector's bound would be refused: its query is the part to go.
      return page + ((page + query).length > 2048 ? "" : query);
    };

    // Counts the page on show, once, when it is seen. Called whenever that may have changed.
    const arrive = safely(() => {
      const address = look();
      const page = address.split("?")[0];
      if (document.hidden || (counted && page == path)) return; // Hidden is also what is rendered before anyone has asked for it.
      leave();
      path = page;
      url = address;
      // What came before the first page of a document is its referrer ("https://host:port/…"); the others came from here.
      const from = document.referrer.split("/", 3);
      const [{ type } = {}] = performance.getEntriesByType("navigation");
      referrer = first ? from.join("/") : location.origin;
      // The first page of a visit, as far as one can tell without an id: not from the own host, no reload, no back_forward (both end in "d").
      counted = !send("pageview", { entry: +(first && from[2] != location.host && !/d$/.test(type)) });
      if (counted) first = false;
      since = sent = height = deepest = engaged = 0;
      lap();
      measureSoon();
    });

    const headcount = safely((...call) => {
      const [name, { props, value, currency } = {}] = call;
      if (send("event", { name, props, value, currency }) == waiting && held.length < 50) held.push(call);
    });
    const replay = () => held.splice(0).forEach((call) => headcount(...call));
    headcount.consent = safely((given) => {
      answer = given;
      arrive();
      replay();
    });
    headcount.optOut = safely(() => {
      out = true;
      localStorage.headcount = 1;
    });
    headcount.optIn = safely(() => {
      out = false;
      delete localStorage.headcount;
      arrive();
    });
    headcount.optedOut = optedOut;
    window.headcount = headcount;

    const hide = () => {
      measure();
      leave();
    };
    const listeners = {
      visibilitychange() {
        if (document.hidden) return hide();
        lap();
        arrive();
      },
      pagehide: hide,
      pageshow({ persisted }) {
        if (!persisted) return;
        counted = false; // It was left when it was hidden; now it is a view of its own.
        arrive();
      },
      scroll: measureSoon,
      popstate: arrive,
      hashchange: arrive,
    };
    for (const type in listeners) addEventListener(type, safely(listeners[type]));
    ["pushState", "replaceState"].forEach((name) => {
      const original = history[name];
      history[name] = (...given) => {
        original.apply(history, given);
        arrive();
      };
    });

    arrive();
    replay();
  })();
})();
