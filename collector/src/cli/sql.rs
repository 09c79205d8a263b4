//! `headcount sql`: asks the running engine, or the configured server, and prints what it answers. It reads tables and changes nothing.

use std::io::{self, IsTerminal, Write};

use clickhouse::Client;

use crate::config::{Config, Store};
use crate::store::client;

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// A table for people.
    Pretty,
    /// Tab-separated, with a line of names.
    Tsv,
    /// Comma-separated, with a line of names.
    Csv,
    /// One JSON object a line.
    Json,
}

impl Form {
    /// A table when a person looks at it, else tab-separated.
    pub(super) fn of_standard_output() -> Self {
        if io::stdout().is_terminal() { Self::Pretty } else { Self::Tsv }
    }

    /// ClickHouse's name of it.
    fn name(self) -> &'static str {
        match self {
            Self::Pretty => "PrettyCompact",
            Self::Tsv => "TabSeparatedWithNames",
            Self::Csv => "CSVWithNames",
            Self::Json => "JSONEachRow",
        }
    }
}

/// Why there is no answer. The texts are the operator's own and ClickHouse's, for the operator alone.
#[derive(Debug, thiserror::Error)]
pub(super) enum SqlError {
    #[error("no engine answers at {socket}: it lives and ends with `headcount serve`")]
    NotRunning { socket: String },
    #[error("ClickHouse")]
    Asked(#[source] clickhouse::error::Error),
    #[error("cannot reach out")]
    Runtime(#[source] io::Error),
    #[error("cannot print")]
    Print(#[source] io::Error),
}

/// Asks `statement` and prints the answer as it arrives.
pub(super) fn ask(config: &Config, statement: &str, form: Form, out: &mut dyn Write) -> Result<(), SqlError> {
    let client = client_of(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SqlError::Runtime)?;
    runtime.block_on(print(&client, statement, form, out))
}

pub(super) fn client_of(config: &Config) -> Result<Client, SqlError> {
    let client = match &config.store {
        Store::Embedded(_) => {
            let socket = config.engine_socket();
            if !socket.exists() {
                return Err(SqlError::NotRunning { socket: socket.display().to_string() });
            }
            client::embedded(&socket)
        }
        Store::Server(server) => client::server(server).map_err(SqlError::Runtime)?.0,
    };
    Ok(client::read_only(&client).with_database(config.database()))
}

async fn print(client: &Client, statement: &str, form: Form, out: &mut dyn Write) -> Result<(), SqlError> {
    // The client's `?` stands for an argument; `??` is a question mark.
    let mut answer = client.query(&statement.replace('?', "??")).fetch_bytes(form.name()).map_err(SqlError::Asked)?;
    while let Some(piece) = answer.next().await.map_err(SqlError::Asked)? {
        out.write_all(&piece).map_err(SqlError::Print)?;
    }
    out.flush().map_err(SqlError::Print)
}
