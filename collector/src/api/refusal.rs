//! Why a question is not answered: a reason from a closed list, the field that is at fault, and what may stand in it. Nothing of the question is repeated.

use hyper::StatusCode;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// Every reason: the name in answers, the status, and a sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    NoSuchPath,
    WrongMethod,
    TooLarge,
    Unreadable,
    UnknownField,
    Missing,
    WrongType,
    OutOfRange,
    TooMany,
    Repeated,
    UnknownSite,
    NotYourSite,
    UnknownMetric,
    UnknownDimension,
    UnknownValue,
    NotStored,
    TooWide,
    NotTogether,
    Unavailable,
}

impl Reason {
    /// Every reason.
    #[cfg(test)]
    pub(crate) const ALL: &[Self] = &[
        Self::NoSuchPath,
        Self::WrongMethod,
        Self::TooLarge,
        Self::Unreadable,
        Self::UnknownField,
        Self::Missing,
        Self::WrongType,
        Self::OutOfRange,
        Self::TooMany,
        Self::Repeated,
        Self::UnknownSite,
        Self::NotYourSite,
        Self::UnknownMetric,
        Self::UnknownDimension,
        Self::UnknownValue,
        Self::NotStored,
        Self::TooWide,
        Self::NotTogether,
        Self::Unavailable,
    ];

    /// The name in answers.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NoSuchPath => "no_such_path",
            Self::WrongMethod => "wrong_method",
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
            Self::UnknownField => "unknown_field",
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::TooMany => "too_many",
            Self::Repeated => "repeated",
            Self::UnknownSite => "unknown_site",
            Self::NotYourSite => "not_your_site",
            Self::UnknownMetric => "unknown_metric",
            Self::UnknownDimension => "unknown_dimension",
            Self::UnknownValue => "unknown_value",
            Self::NotStored => "not_stored",
            Self::TooWide => "too_wide",
            Self::NotTogether => "not_together",
            Self::Unavailable => "unavailable",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::NoSuchPath => "There is nothing at this path.",
            Self::WrongMethod => "This path takes another method.",
            Self::TooLarge => "The question is too long, or broke off.",
            Self::Unreadable => "The question is not a JSON object.",
            Self::UnknownField => "There is a field that nobody knows; the known ones are listed.",
            Self::Missing => "This field must be there.",
            Self::WrongType => "This field is of another type.",
            Self::OutOfRange => "This value is beyond its bounds.",
            Self::TooMany => "There are too many of these.",
            Self::Repeated => "This stands here twice.",
            Self::UnknownSite => "There is no such site.",
            Self::NotYourSite => "Your token does not allow this site.",
            Self::UnknownMetric => "There is no such metric.",
            Self::UnknownDimension => "There is no such dimension.",
            Self::UnknownValue => "This is none of the values that are known here.",
            Self::NotStored => "This is not stored in a form that could answer; what can be asked instead is listed.",
            Self::TooWide => "The range is too wide for this.",
            Self::NotTogether => "This cannot be asked together with the rest of the question.",
            Self::Unavailable => "The tables cannot be asked now.",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotYourSite => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge
            | Self::Unreadable
            | Self::UnknownField
            | Self::Missing
            | Self::WrongType
            | Self::OutOfRange
            | Self::TooMany
            | Self::Repeated
            | Self::UnknownSite
            | Self::UnknownMetric
            | Self::UnknownDimension
            | Self::UnknownValue
            | Self::NotStored
            | Self::TooWide
            | Self::NotTogether => StatusCode::BAD_REQUEST,
        }
    }
}

/// A question that is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(super) reason: Reason,
    pub(super) field: String,
    pub(super) allowed: Vec<String>,
}

impl Refusal {
    /// The question as a whole.
    pub(crate) fn of(reason: Reason) -> Self {
        Self::at("", reason)
    }

    /// One field of it, by our own name.
    pub(crate) fn at(field: &str, reason: Reason) -> Self {
        Self { reason, field: field.to_owned(), allowed: Vec::new() }
    }

    /// With what may stand there.
    #[must_use]
    pub(crate) fn allowing<T: Into<String>>(self, allowed: impl IntoIterator<Item = T>) -> Self {
        Self { allowed: allowed.into_iter().map(Into::into).collect(), ..self }
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
