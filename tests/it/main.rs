//! Integration tests, one file a behaviour; one binary, so that they link once.
#![allow(clippy::unwrap_used, missing_docs)] // a test's way to fail

#[path = "../support/mod.rs"]
mod support;

mod flow_tail;
mod house;
mod http_access;
mod http_compile;
mod http_examples;
mod http_exchange;
mod http_limits;
mod http_raw;
mod http_refused;
mod http_stop;
mod http_stream;
mod http_tiny;
mod http_tls;
mod lock_directory;
mod lock_file;
mod output;
mod pipe;
mod process_child;
mod process_tree;
mod run_config;
mod run_cron;
mod run_exit_codes;
mod run_once;
mod run_output;
mod run_ping;
mod run_terminal;
mod static_binary;
mod thread;
mod two_classes;
