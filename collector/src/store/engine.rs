//! The supervisor of the embedded engine: starts the child process, tells when it answers, starts it again when it dies.
//!
//! The child lives as long as its standard input is open, and only this task holds the other end: whatever ends this process ends the child.
//! What the child writes is thrown away, as ClickHouse's own texts may quote data; the status it ends with says why it could not start.

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use headcount_engine::{EngineError, Options};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::database::Incarnation;
use crate::clock::Clock;
use crate::limits;
use crate::store::client::Pinger;

/// How the child is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program, whose subcommand `engine` takes [`Options::to_arguments`]: this one's own file.
    pub executable: PathBuf,
    /// What the engine is started with.
    pub options: Options,
}

/// Keeps an engine running until `stop` turns true, and tells in `incarnation` which one answers.
pub(super) async fn supervise(start: Start, incarnation: watch::Sender<Option<Incarnation>>, mut stop: watch::Receiver<bool>) {
    let mut wait = limits::ENGINE_RESTART_WAIT_MIN;
    while !*stop.borrow() {
        let born = Clock::monotonic();
        match spawn(&start) {
            Ok(child) => {
                if attend(child, &start, &incarnation, &mut stop).await == Ended::AsAsked {
                    return;
                }
            }
            Err(error) => tracing::error!(kind = %error.kind(), "the engine's process cannot be started"),
        }
        if Clock::monotonic().duration_since(born) >= limits::ENGINE_STEADY {
            wait = limits::ENGINE_RESTART_WAIT_MIN;
        }
        tracing::warn!(wait_ms = wait.as_millis(), "the engine is started again after a pause");
        let _ = tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await;
        wait = longer(wait);
    }
}

/// The wait after `wait`.
fn longer(wait: Duration) -> Duration {
    (wait * 2).min(limits::ENGINE_RESTART_WAIT_MAX)
}

fn spawn(start: &Start) -> std::io::Result<Child> {
    Command::new(&start.executable)
        .arg("engine")
        .args(start.options.to_arguments())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Only when this task is dropped before its end; its own end is gentler.
        .kill_on_drop(true)
        .spawn()
}

#[derive(PartialEq, Eq)]
enum Ended {
    AsAsked,
    ByItself,
}

/// Follows one child from its start to its end.
async fn attend(
    mut child: Child,
    start: &Start,
    incarnation: &watch::Sender<Option<Incarnation>>,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let input = child.stdin.take();
    let process = child.id();
    let ended = tokio::select! {
        status = child.wait() => Some(status),
        never = announce(process, start, incarnation) => match never {},
        _ = stop.wait_for(|stop| *stop) => None,
    };
    incarnation.send_replace(None);
    if let Some(status) = ended {
        report(status.ok());
        return Ended::ByItself;
    }
    drop(input);
    if tokio::time::timeout(limits::ENGINE_STOP_DEADLINE, child.wait()).await.is_err() {
        tracing::warn!("the engine did not end in time and is killed");
        let _ = child.kill().await;
    }
    Ended::AsAsked
}

/// Asks until this very process answers, names it then, and stays. An earlier child that is still ending may hold the socket: it does not count.
async fn announce(process: Option<u32>, start: &Start, incarnation: &watch::Sender<Option<Incarnation>>) -> Infallible {
    let pinger = Pinger::new(&start.options.socket);
    let mut wait = Duration::from_millis(5);
    while process.is_none() || pinger.process().await != process {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(limits::ENGINE_PING_WAIT_MAX);
    }
    tracing::info!("the engine answers");
    incarnation.send_replace(Incarnation::random());
    std::future::pending().await
}

fn report(status: Option<ExitStatus>) {
    let code = status.and_then(|status| status.code());
    if let Some(reason) = code.and_then(EngineError::explain) {
        tracing::error!(reason, "the engine cannot start");
    } else {
        tracing::error!(code, "the engine's process ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_its_bound() {
        let mut waits = vec![limits::ENGINE_RESTART_WAIT_MIN];
        while waits.len() < 12 {
            waits.push(longer(waits[waits.len() - 1]));
        }
        assert_eq!(waits[1], Duration::from_millis(200));
        assert_eq!(waits[11], limits::ENGINE_RESTART_WAIT_MAX);
    }
}
