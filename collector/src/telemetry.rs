//! The log: our own events only, on standard error, as text or JSON.
//!
//! What a library logs may quote a request, so nothing but Headcount's own targets passes, whatever the level; `RUST_LOG` is not read. The text of a
//! panic may quote the value that it stumbled over (a string that was cut in the middle of a character prints itself), so only its place is logged.

use crate::privacy::keys::{Change, KeyStoreError, Life};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;

use crate::config::{Log, LogFormat};

/// Every target of ours begins with this.
const OURS: &str = "headcount";

/// Starts the log on standard error, and keeps the texts of panics out of it. The first call in a process counts.
pub fn start(log: Log) {
    let subscriber = subscriber(log, std::io::stderr);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(report));
    }
}

fn report(panic: &PanicHookInfo<'_>) {
    let (file, line) = panic.location().map_or(("unknown", 0), |place| (place.file(), place.line()));
    #[cfg(feature = "leaky")]
    crate::leak::log("panic_text", panic);
    tracing::error!(target: "headcount", file, line, "panicked; its text is withheld, for it may quote a visitor");
}

fn subscriber<W>(log: Log, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let ours = Targets::new().with_target(OURS, log.level);
    let layer = fmt::layer().with_writer(writer).with_ansi(std::io::stderr().is_terminal());
    let layer = match log.format {
        LogFormat::Text => layer.with_filter(ours).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(ours).boxed(),
    };
    tracing_subscriber::registry().with(layer)
}

/// Logs what happened to the keys; never a key.
pub fn log_key_changes(result: Result<Vec<Change>, KeyStoreError>) {
    match result {
        Err(error) => tracing::error!(%error, "the keys cannot be kept; events are refused once none of the day lives"),
        Ok(changes) => changes.iter().for_each(log_change),
    }
}

fn log_change(change: &Change) {
    let (zone, day) = (&change.zone, change.day);
    match change.what {
        Life::Born => tracing::info!(%zone, %day, "a key was born"),
        Life::Split => {
            tracing::warn!(%zone, %day, "the key of this day was lost and another is born: visitors of before and after count twice");
        }
        Life::Found => tracing::info!(%zone, %day, "the key of this day was found"),
        Life::Died => tracing::info!(%zone, %day, "a key was destroyed"),
        Life::ClockBehind => {
            tracing::error!(%zone, %day, "the clock is behind a key that lives; events are refused until it has caught up");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'writer> MakeWriter<'writer> for Page {
        type Writer = Self;

        fn make_writer(&'writer self) -> Self {
            self.clone()
        }
    }

    fn logged(format: LogFormat, act: impl FnOnce()) -> String {
        let page = Page::default();
        let log = Log { level: tracing::Level::TRACE, format };
        let written = page.clone();
        tracing::subscriber::with_default(subscriber(log, move || written.clone()), act);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_our_own_events_are_logged_at_the_finest_level() {
        let log = logged(LogFormat::Text, || {
            tracing::error!(target: "hyper::proto", "GET /e?ip=192.0.2.7");
            tracing::trace!(target: "headcount::spool", segments = 2, "sealed");
        });
        assert!(log.contains("sealed") && log.contains("segments"), "{log}");
        assert!(!log.contains("192.0.2.7"), "{log}");
    }

    #[test]
    fn a_json_line_is_one_flat_object() {
        let log = logged(LogFormat::Json, || tracing::info!(target: "headcount", rows = 3, "sent"));
        let object: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!((&object["message"], &object["rows"], &object["level"]), (&"sent".into(), &3.into(), &"INFO".into()));
    }

    const CHILD: &str = "HEADCOUNT_TEST_PANICS";

    /// In the child of the test below: panics as a careless cut through a visitor's text would.
    #[test]
    fn panics_when_asked() {
        let Some(started) = std::env::var_os(CHILD) else { return };
        if started == "with-log" {
            start(Log { level: tracing::Level::TRACE, format: LogFormat::Text });
        }
        let sent = "canäry";
        assert_eq!(sent.get(..4), Some(&sent[..4]));
    }

    #[test]
    fn a_panic_tells_its_place_and_not_its_text() {
        let told = |how: &str| {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "telemetry::tests::panics_when_asked", "--nocapture"]).env(CHILD, how);
            String::from_utf8(child.output().unwrap().stderr).unwrap()
        };
        let without = told("without-log");
        assert!(without.contains("canäry"), "the control finds nothing: {without}");
        let with = told("with-log");
        assert!(with.contains("panicked") && with.contains("telemetry.rs"), "{with}");
        assert!(!with.contains("can"), "{with}");
    }
}
