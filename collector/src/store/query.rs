//! The parameterised questions.
