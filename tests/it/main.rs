//! Integration tests, one file a behaviour; one binary, so that they link once.
#![allow(clippy::unwrap_used, missing_docs)] // a test's way to fail

#[path = "../support/mod.rs"]
mod support;

#[cfg(all(feature = "docker", feature = "http"))]
mod docker_broken;
#[cfg(feature = "docker")]
mod docker_compile;
#[cfg(feature = "docker")]
mod docker_containers;
#[cfg(feature = "docker")]
mod docker_fixtures;
#[cfg(all(feature = "docker", feature = "http"))]
mod docker_garbage;
#[cfg(feature = "docker")]
mod docker_lists;
#[cfg(all(feature = "docker", feature = "http"))]
mod docker_logs;
#[cfg(feature = "docker")]
mod docker_pull;
#[cfg(all(feature = "docker", feature = "tls"))]
mod docker_remote;
#[cfg(feature = "docker")]
mod docker_run;
#[cfg(feature = "redis")]
mod expiry_deadlines;
#[cfg(feature = "redis")]
mod expiry_gaps;
#[cfg(feature = "redis")]
mod expiry_torture;
#[cfg(feature = "redis")]
mod expiry_watch;
mod flow_follow;
mod flow_merge;
mod flow_rotation;
mod flow_tags;
mod flow_tail;
#[cfg(feature = "form")]
mod form_body;
#[cfg(feature = "form")]
mod form_compile;
#[cfg(all(feature = "form", feature = "http"))]
mod form_peers;
#[cfg(feature = "form")]
mod form_reader;
#[cfg(all(feature = "form", feature = "http"))]
mod get;
mod house;
#[cfg(feature = "http")]
mod http_access;
#[cfg(feature = "http")]
mod http_compile;
#[cfg(feature = "http")]
mod http_examples;
#[cfg(feature = "http")]
mod http_exchange;
#[cfg(feature = "http")]
mod http_limits;
#[cfg(feature = "http")]
mod http_park;
#[cfg(feature = "http")]
mod http_raw;
#[cfg(feature = "http")]
mod http_refused;
#[cfg(feature = "http")]
mod http_stop;
#[cfg(feature = "http")]
mod http_stream;
#[cfg(feature = "http")]
mod http_tiny;
#[cfg(feature = "tls")]
mod http_tls;
mod job_lease;
#[cfg(feature = "redis")]
mod lead;
#[cfg(feature = "http")]
mod live_page;
#[cfg(feature = "http")]
mod live_requests;
#[cfg(feature = "http")]
mod live_slow;
mod lock_command;
mod lock_directory;
mod lock_file;
mod lock_renewal;
#[cfg(feature = "http")]
mod logs;
#[cfg(all(feature = "docker", feature = "http"))]
mod logs_docker;
#[cfg(feature = "http")]
mod logs_ends;
mod output;
mod pipe;
mod process_child;
mod process_tree;
mod redis_fixtures;
#[cfg(feature = "redis")]
mod redis_nodes;
#[cfg(feature = "redis")]
mod redis_store;
#[cfg(feature = "redis")]
mod redis_torture;
#[cfg(all(feature = "http", feature = "redis"))]
mod relay;
mod run_bad_input;
mod run_config;
mod run_cron;
mod run_exit_codes;
#[cfg(feature = "docker")]
mod run_image;
#[cfg(feature = "http")]
mod run_listen;
mod run_once;
mod run_output;
#[cfg(feature = "http")]
mod run_ping;
#[cfg(feature = "redis")]
mod run_redis;
#[cfg(all(feature = "form", feature = "http"))]
mod run_ship;
#[cfg(feature = "http")]
mod run_stalled;
#[cfg(feature = "redis")]
mod run_store;
mod run_terminal;
#[cfg(all(feature = "form", feature = "http"))]
mod send;
#[cfg(all(feature = "form", feature = "http"))]
mod send_peers;
#[cfg(all(feature = "form", feature = "http"))]
mod send_serve;
#[cfg(all(feature = "form", feature = "http"))]
mod serve_bad_input;
#[cfg(all(feature = "form", feature = "http"))]
mod serve_command;
#[cfg(all(feature = "form", feature = "http"))]
mod serve_files;
#[cfg(all(feature = "form", feature = "http"))]
mod serve_page;
#[cfg(all(feature = "form", feature = "http"))]
mod serve_peers;
#[cfg(all(feature = "form", feature = "http"))]
mod serve_resume;
#[cfg(all(feature = "form", feature = "http"))]
mod serve_stalled;
mod static_binary;
mod thread;
mod two_classes;
#[cfg(feature = "http")]
mod watch;
#[cfg(feature = "http")]
mod watch_lost;
