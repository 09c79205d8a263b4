//! Why a question is not answered: a reason from a closed list, the field that is at fault, and what may stand in it. Nothing of the question is repeated.

use hyper::StatusCode;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// Every reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nothing answers at this path.
    NoSuchPath,
    /// The path takes another method.
    WrongMethod,
}

impl Reason {
    /// The name in answers.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NoSuchPath => "no_such_path",
            Self::WrongMethod => "wrong_method",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::NoSuchPath => "There is nothing at this path.",
            Self::WrongMethod => "This path takes another method.",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

/// A question that is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    reason: Reason,
    field: String,
    allowed: Vec<String>,
}

impl Refusal {
    /// The question as a whole.
    pub(crate) fn of(reason: Reason) -> Self {
        Self { reason, field: String::new(), allowed: Vec::new() }
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.reason.status()
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Refusal", 4)?;
        fields.serialize_field("error", self.reason.label())?;
        fields.serialize_field("field", &self.field)?;
        fields.serialize_field("allowed", &self.allowed)?;
        fields.serialize_field("message", self.reason.message())?;
        fields.end()
    }
}
