//! Integration tests, one file a behaviour; one binary, so that they link once.
#![allow(clippy::unwrap_used, missing_docs)] // a test's way to fail

mod lock_directory;
mod lock_file;
mod pipe;
mod thread;
mod two_classes;
#[path = "../support/mod.rs"]
mod support;

mod house;
mod static_binary;
mod output;
