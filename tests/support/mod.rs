//! What the integration tests share: fixtures that start real things, and the
//! say over which groups of tests run.

pub(crate) mod groups;

pub(crate) use groups::{left_out, skipped};
