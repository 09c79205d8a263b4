//! The collector as the binary runs it, but for what a test sets: a clock that stands until it is moved, and a spool that is full soon.
//!
//! Nothing of the product knows of it: it is the library's own start with another clock.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use headcount::clock::{Clock, UnixMillis};
use headcount::config::{Config, Overrides, Surroundings};
use headcount::serve::Running;
use headcount::shutdown::{Order, Signals};
use headcount::telemetry;

/// A noon, in milliseconds since 1970: yesterday still takes late events, and midnight is far.
pub const NOON: i64 = 1_795_348_800_000;

/// The variable that says what time it is, in milliseconds since 1970; without it this is the collector as it is. A line of standard input moves the clock.
pub const NOW: &str = "HEADCOUNT_STAGE_NOW";

/// The variable that bounds the spool, in bytes, below what a configuration may say.
pub const SPOOL_BYTES: &str = "HEADCOUNT_STAGE_SPOOL_BYTES";

/// Does what the arguments ask, as the collector would; serves on the stage if one is set.
///
/// # Panics
///
/// When the stage cannot be set, with the reason.
pub fn main() -> ExitCode {
    let serves = std::env::args().any(|argument| argument == "serve");
    match number(NOW) {
        Some(now) if serves => serve(UnixMillis(now)),
        _ => headcount::cli::main(),
    }
}

fn number(variable: &str) -> Option<i64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn serve(now: UnixMillis) -> ExitCode {
    let mut config = Config::load(&overrides(), &Surroundings::of_process()).expect("a configuration");
    if let Some(bytes) = number(SPOOL_BYTES) {
        config.spool.max_bytes = bytes.unsigned_abs();
    }
    telemetry::start(config.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut signals = Signals::take().expect("signals");
        let clock = Clock::standing_at(now);
        let running = Running::start(config, clock.clone()).expect("the collector starts");
        say(&format!("visitors  {}\noperator  {}", running.visitors_url(), running.operators_link()));
        std::thread::spawn(move || follow(&clock));
        while signals.next().await == Order::Reload {
            running.follow(&Config::load(&overrides(), &Surroundings::of_process()).expect("a configuration"));
        }
        running.stop().await.expect("the collector ends in order");
    });
    ExitCode::SUCCESS
}

/// Moves the clock as standard input says, and says so.
fn follow(clock: &Clock) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let now = line.trim().parse().expect("milliseconds since 1970");
        clock.set(UnixMillis(now));
        say(&told(now));
    }
}

/// What is said once the clock stands at `now`.
pub(crate) fn told(now: i64) -> String {
    format!("the clock stands at {now}")
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("the test listens");
}

/// The flags that [`crate::collector::Setup`] gives.
fn overrides() -> Overrides {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| arguments.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1].clone());
    Overrides {
        config: after("--config").map(Into::into),
        public_listen: after("--public-listen").map(|address| address.parse().expect("an address")),
        private_listen: after("--private-listen").map(|address| address.parse().expect("an address")),
        ..Overrides::default()
    }
}
