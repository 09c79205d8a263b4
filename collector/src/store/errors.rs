//! What may go wrong between a segment and ClickHouse, as a closed list. The text of an error may quote a row, so it is dropped here.
//!
//! Codes: <https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp>.

use std::fmt;

use clickhouse::error::Error;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It passes: try again, later and later.
    Retry,
    /// An operator has to mend something (a table, a password, space): try again slowly, and raise the alarm.
    Hold,
    /// This batch will not be taken however often it is tried: look for the rows that are to blame, put them aside and go on.
    Park,
    /// Nobody has thought of it. Whether the batch or the database is to blame shows when other batches are delivered.
    Unknown,
}

impl Class {
    /// Every class, in the order of `as usize`.
    pub const ALL: [Self; 4] = [Self::Retry, Self::Hold, Self::Park, Self::Unknown];

    /// The name in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Park => "park",
            Self::Unknown => "unknown",
        }
    }
}

/// How an exchange with ClickHouse failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// ClickHouse answered with an exception of this code.
    Exception(u16),
    /// Something answered with this HTTP status and no exception: a proxy, or a server that is not ready.
    Status(u16),
    /// No connection, or it broke.
    Network,
    /// No answer in time.
    TimedOut,
    /// The answer is not what this version of the client understands.
    Unreadable,
    /// ClickHouse has restarted, and has not yet said which life of it this is.
    Restarted,
}

/// It passes by itself: load, memory, threads, connections, a replica or the coordination service that comes back.
const PASSES: &[u16] = &[
    159, // TIMEOUT_EXCEEDED
    173, // CANNOT_ALLOCATE_MEMORY
    202, // TOO_MANY_SIMULTANEOUS_QUERIES
    203, // NO_FREE_CONNECTION
    209, // SOCKET_TIMEOUT
    210, // NETWORK_ERROR
    225, // NO_ZOOKEEPER
    236, // ABORTED
    241, // MEMORY_LIMIT_EXCEEDED
    242, // TABLE_IS_READ_ONLY: a replica without its coordination service
    252, // TOO_MANY_PARTS
    279, // ALL_CONNECTION_TRIES_FAILED
    285, // TOO_FEW_LIVE_REPLICAS
    286, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
    319, // UNKNOWN_STATUS_OF_INSERT
    373, // SESSION_IS_LOCKED
    394, // QUERY_WAS_CANCELLED: somebody killed it
    425, // SYSTEM_ERROR
    439, // CANNOT_SCHEDULE_TASK
    473, // DEADLOCK_AVOIDED
    999, // KEEPER_EXCEPTION
];

/// An operator has to mend something: tables and columns, rights, space, or a server that does not know what is asked of it.
const OPERATORS: &[u16] = &[
    8,   // THERE_IS_NO_COLUMN
    10,  // NOT_FOUND_COLUMN_IN_BLOCK
    16,  // NO_SUCH_COLUMN_IN_TABLE
    20,  // NUMBER_OF_COLUMNS_DOESNT_MATCH
    46,  // UNKNOWN_FUNCTION
    47,  // UNKNOWN_IDENTIFIER
    48,  // NOT_IMPLEMENTED
    60,  // UNKNOWN_TABLE
    62,  // SYNTAX_ERROR
    73,  // UNKNOWN_FORMAT
    74,  // CANNOT_READ_FROM_FILE_DESCRIPTOR
    75,  // CANNOT_WRITE_TO_FILE_DESCRIPTOR: its disk is full, or fails
    76,  // CANNOT_OPEN_FILE
    81,  // UNKNOWN_DATABASE
    115, // UNKNOWN_SETTING
    164, // READONLY
    192, // UNKNOWN_USER
    193, // WRONG_PASSWORD
    194, // REQUIRED_PASSWORD
    195, // IP_ADDRESS_NOT_ALLOWED
    201, // QUOTA_EXPIRED: the quota is used up
    204, // CANNOT_FSYNC
    218, // TABLE_IS_DROPPED
    243, // NOT_ENOUGH_SPACE
    291, // DATABASE_ACCESS_DENIED
    392, // QUERY_IS_PROHIBITED
    452, // SETTING_CONSTRAINT_VIOLATION
    497, // ACCESS_DENIED
    516, // AUTHENTICATION_FAILED
    774, // TABLE_IS_PERMANENTLY_READ_ONLY: somebody has set it so
];

/// The rows themselves: they cannot be read as what the columns are, or break a rule that somebody has set for them.
const ROWS: &[u16] = &[
    6,   // CANNOT_PARSE_TEXT
    26,  // CANNOT_PARSE_QUOTED_STRING
    27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    32,  // ATTEMPT_TO_READ_AFTER_EOF: rows cut short
    33,  // CANNOT_READ_ALL_DATA: rows cut short
    36,  // BAD_ARGUMENTS
    38,  // CANNOT_PARSE_DATE
    41,  // CANNOT_PARSE_DATETIME
    53,  // TYPE_MISMATCH
    69,  // ARGUMENT_OUT_OF_BOUND
    70,  // CANNOT_CONVERT_TYPE
    72,  // CANNOT_PARSE_NUMBER
    117, // INCORRECT_DATA
    128, // TOO_LARGE_ARRAY_SIZE
    131, // TOO_LARGE_STRING_SIZE
    153, // ILLEGAL_DIVISION
    248, // INVALID_PARTITION_VALUE
    321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    395, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO: a view's own check
    407, // DECIMAL_OVERFLOW
    469, // VIOLATED_CONSTRAINT
];

impl Failure {
    /// What to do about it.
    pub fn class(self) -> Class {
        match self {
            Self::Exception(code) if PASSES.contains(&code) => Class::Retry,
            Self::Exception(code) if OPERATORS.contains(&code) => Class::Hold,
            Self::Exception(code) if ROWS.contains(&code) => Class::Park,
            Self::Exception(_) => Class::Unknown,
            Self::Status(408 | 425 | 429 | 500..) | Self::Network | Self::TimedOut | Self::Restarted => Class::Retry,
            // What stands between us and ClickHouse refuses, or is something else: no row has been looked at.
            Self::Status(_) | Self::Unreadable => Class::Hold,
        }
    }

    /// ClickHouse's code, or 0.
    pub fn code(self) -> u16 {
        match self {
            Self::Exception(code) => code,
            Self::Status(_) | Self::Network | Self::TimedOut | Self::Unreadable | Self::Restarted => 0,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exception(code) => write!(formatter, "ClickHouse answered with error {code}"),
            Self::Status(status) => write!(formatter, "HTTP status {status}"),
            Self::Network => formatter.write_str("ClickHouse cannot be reached"),
            Self::TimedOut => formatter.write_str("ClickHouse did not answer in time"),
            Self::Unreadable => formatter.write_str("ClickHouse's answer cannot be read"),
            Self::Restarted => formatter.write_str("ClickHouse has restarted"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::BadResponse(text) => {
                #[cfg(feature = "leaky")]
                crate::leak::log("database_error_text", &text);
                of_response(&text)
            }
            Error::Network(_) => Self::Network,
            Error::TimedOut => Self::TimedOut,
            _ => Self::Unreadable,
        }
    }
}

/// Reads the number at the start of an answer: `Code: 252. DB::Exception: ...` or, without an exception, `502 Bad Gateway`.
fn of_response(text: &str) -> Failure {
    let leading = |text: &str| {
        text.bytes().take_while(u8::is_ascii_digit).fold(0u16, |n, digit| n.saturating_mul(10).saturating_add((digit - b'0').into()))
    };
    match text.strip_prefix("Code: ") {
        Some(rest) => Failure::Exception(leading(rest)),
        None => Failure::Status(leading(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_reduced_to_its_code() {
        for (text, failure, class) in [
            ("Code: 252. DB::Exception: Too many parts", Failure::Exception(252), Class::Retry),
            ("Code: 60", Failure::Exception(60), Class::Hold),
            ("Code: 117. DB::Exception: Incorrect data", Failure::Exception(117), Class::Park),
            ("Code: 99999999. x", Failure::Exception(u16::MAX), Class::Unknown),
            ("502 Bad Gateway", Failure::Status(502), Class::Retry),
            ("429 Too Many Requests", Failure::Status(429), Class::Retry),
            ("403 Forbidden", Failure::Status(403), Class::Hold),
            ("408 Request Timeout", Failure::Status(408), Class::Retry),
            ("Code: 469. DB::Exception: Constraint", Failure::Exception(469), Class::Park),
            ("Code: 49. DB::Exception: Logical error", Failure::Exception(49), Class::Unknown),
            ("<html>", Failure::Status(0), Class::Hold),
        ] {
            let read = Failure::from(Error::BadResponse(text.to_owned()));
            assert_eq!((read, read.class()), (failure, class), "{text}");
        }
    }

    #[test]
    fn no_code_is_on_two_lists() {
        let mut codes = [PASSES, OPERATORS, ROWS].concat();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
        assert!([PASSES, OPERATORS, ROWS].iter().all(|list| list.is_sorted()));
    }

    #[test]
    fn what_is_shown_of_a_failure_quotes_nothing() {
        let quoting = Error::BadResponse("Code: 27. DB::Exception: cannot parse 'canary-7f3a'".to_owned());
        assert!(quoting.to_string().contains("canary"), "the error itself does quote");
        let failure = Failure::from(quoting);
        assert!(!format!("{failure} {failure:?}").contains("canary"));
    }
}
