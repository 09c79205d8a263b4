// Why an event was not counted, in words for the owner of a site: what it is, and what to do about it, if anything.
// Keyed by the labels of the collector's outcomes; a test compares the two lists.

/** Left out for the visitor's sake, or because there was no visitor. Nothing to mend. */
export const dropped: Record<string, [what: string, advice: string]> = {
  dnt: ["The visitor asks not to be tracked (DNT)", ""],
  gpc: ["The visitor's browser says Global Privacy Control", ""],
  opted_out: ["The visitor opted out", ""],
  consent_denied: ["The visitor denied consent", ""],
  consent_missing: ["This site asks for consent, and there was no answer yet", "Call headcount.consent(\"granted\") or (\"denied\") from your consent banner."],
  advertising_refused: ["The visitor refused advertising", ""],
  child: ["The visitor may be a child", ""],
  unreadable_signal: ["A privacy signal could not be read", "It is taken as a no."],
  bot_crawler: ["Crawlers", ""],
  bot_headless: ["Automated browsers", ""],
  bot_not_a_browser: ["Programs that are no browser", "Apps and backends send to /v1/events."],
  bot_no_user_agent: ["Requests without a user agent", ""],
  ignored_network: ["Your own network (ignore_from)", ""],
};

/** Refused: something to mend. */
export const refused: Record<string, [what: string, advice: string]> = {
  unreadable: ["The request could not be read", "It is not the JSON that the script sends."],
  too_large: ["The request was too large", ""],
  aborted: ["The request broke off", ""],
  missing: ["A field is missing", ""],
  wrong_type: ["A field has the wrong type", ""],
  too_long: ["A field is too long", ""],
  out_of_range: ["A number is out of range", ""],
  invalid: ["A field has a value that is not allowed", ""],
  repeated: ["A field stands twice in one event", ""],
  unknown_site: ["The site's id is not configured", "Compare data-site in the tag with your configuration."],
  wrong_host: ["The page is on a host that does not belong to the site", "Add it to the site's hosts."],
  too_old: ["The event's day is closed", "Events are taken while their day is open."],
  secret_required: ["client_ip or client_ua came without the site's secret", ""],
  no_key: ["No key of the day", "The clock of this machine may have been set back."],
  rate_limited: ["Over a rate limit", ""],
  unavailable: ["The collector could not take it", "The disk may be full; see the log."],
};
