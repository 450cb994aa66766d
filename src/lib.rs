//! Runs a job once across a fleet, and knows how it ended.
//!
//! A library of blocking streams and supervised processes, and all that the
//! `towpath` command does: it parses its flags and calls [`job`]. Synchronous
//! throughout: threads, OS pipes and channels, no async runtime.
//!
//! Its one idea: *the end of a stream is not the success of the task*, so an
//! end must be proven. A pipe ends by [`pipe::Sink::finish`] or with an error at
//! its reader; a thread with its value or its [`thread::Panic`]; a lease by
//! [`lock::Lease::release`] or with a [`lock::Lost`]; a run with a
//! [`job::Outcome`] that says which of its ends it was. What can be forgotten
//! is `#[must_use]`, and this crate forbids forgetting it.
//!
//! # The tour
//!
//! In reading order; each room's own page says what it promises and where it
//! ends. A room uses only rooms that come before it.
//!
//! **[`clock`]**: moments that count suspend, and durations as people write them.
//!
//! ```
//! use std::time::Duration;
//! use towpath::clock::{Moment, parse_duration};
//!
//! let deadline = Moment::now() + parse_duration("1h30m")?;
//! assert!(deadline.remaining() > Duration::from_secs(5_000));
//! # Ok::<(), towpath::clock::InvalidDuration>(())
//! ```
//!
//! **[`thread`]**: named threads with an owner and a stop; panics that keep
//! their first scene; the two classes, isolated and essential.
//!
//! ```
//! use towpath::thread;
//!
//! let worker = thread::spawn("worker", |_stop| -> u32 {
//!     let _request = thread::context("request", 3);
//!     panic!("request 3 is poison")
//! })?;
//! let panic = worker.join().unwrap_err();
//! assert_eq!(panic.thread(), "worker");
//! assert_eq!(panic.message(), "request 3 is poison");
//! assert_eq!(panic.context(), [("request", "3".to_owned())]);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! **[`pipe`]**: OS pipes in two halves, whose reader sees `Ok(0)` only if the
//! writer said that it was done.
//!
//! ```
//! use std::io::{Error, Read, Write};
//!
//! let mut source = towpath::pipe::produce("copy", |sink| {
//!     sink.write_all(b"half of it")?;
//!     Err(Error::other("the disk is gone"))
//! })?;
//! let mut text = String::new();
//! let error = source.read_to_string(&mut text).unwrap_err();
//! assert_eq!(error.to_string(), "the disk is gone");
//! # Ok::<(), Error>(())
//! ```
//!
//! **[`process`]**: a command under a keeper, so that its whole tree ends with
//! the run, whoever is killed. Its programs call [`process::keeper_entry`] first.
//!
//! **[`store`]**: where locks are kept: a directory, or a Redis of any shape. A
//! [`store::StoreUrl`] names it, a [`store::Key`] names the lock.
//!
#![cfg_attr(
    feature = "http",
    doc = "**[`client`]**: HTTP requests with a limit on their whole time; what `--ping` needs."
)]
//!
//! **[`lock`]**: a lock that is held, as a value: its fence, its validity, its
//! renewal, its release or loss.
//!
//! ```
//! use towpath::lock::{Acquired, Locks, Request};
//! use towpath::store::{Key, StoreUrl};
//!
//! # let directory = tempfile::tempdir()?;
//! # let url = format!("file:{}", directory.path().display());
//! # #[cfg(any())]
//! let url = "file:/var/lib/locks";
//! let locks = Locks::open(&url.parse::<StoreUrl>()?)?;
//! let request = Request::new(Key::new("backup")?);
//! let Acquired::Lease(lease) = locks.try_acquire(&request)? else { panic!("somebody else has it") };
//! assert!(matches!(locks.try_acquire(&request)?, Acquired::Held(_)));
//! assert!(lease.fence() > 0);
//! lease.release()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **[`flow`]**: bytes as lines: split with bounded memory, chosen by patterns,
//! counted where some are missing.
//!
//! ```
//! let errors = towpath::flow::Filter::new(["(?i)error"], ["ignored"])?;
//! assert!(errors.passes(b"Error: disk full\n"));
//! assert!(!errors.passes(b"error (ignored)\n"));
//! # Ok::<(), towpath::flow::InvalidPattern>(())
//! ```
//!
//! [`flow::tail`] gives one stream to many readers, each at its own pace.
//!
#![cfg_attr(feature = "form", doc = "**[`form`]**: `multipart/form-data`, read strictly and written as browsers do.")]
//!
#![cfg_attr(
    feature = "http",
    doc = "**[`http`]**: a server, a thread a connection, whose replies go on and end provably."
)]
//!
#![cfg_attr(
    all(feature = "form", feature = "http"),
    doc = "**[`inbox`]**: files received and given back; each is there whole, or not at all."
)]
//!
#![cfg_attr(
    feature = "redis",
    doc = "**[`expiry`]**: deadlines in Redis, and keys that expire there, handled by one leader at least once."
)]
//!
#![cfg_attr(feature = "http", doc = "**[`live`]**: a stream of lines served live to its proven end, and its reader.")]
//!
//! **[`job`]**: all of it together: a command under a lease, with its output,
//! its time limit and its [`job::Outcome`]; and [`job::Lead`], a command that runs
//! while this host is the leader.
//!
//! ```no_run
//! use std::time::Duration;
//! use towpath::job::{Job, Verdict};
//! use towpath::thread::signals::{SIGINT, SIGTERM, Signals};
//!
//! towpath::process::keeper_entry(); // first thing in main
//! let signals = Signals::listen(&[SIGINT, SIGTERM])?;
//! let job = Job::new(["rsync", "-a", "/srv/", "/mnt/srv/"]).timeout(Duration::from_secs(3600)).quiet_success();
//! let outcome = job.run(signals.receiver());
//! match &outcome.verdict {
//!     Verdict::Ended(status) if status.success() => println!("done in {:?}", outcome.ran),
//!     Verdict::TimedOut(_) => println!("an hour wasn't enough"),
//!     _ => println!("{}", outcome.word()),
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Features
//!
//! They only add API, and are on by default: `cli` (the command), `docker`
//! (Docker's Engine API), `form`
//! (`multipart/form-data`), `http` (the HTTP client and server, `live`;
//! `run --ping`, `run --listen`, `watch`, `logs`), `redis` (locks across hosts),
//! `tls` (`https://` in client and server, `rediss://`).
//!
//! # Errors and panics
//!
//! Errors are one line by `Display` and keep their cause as `source()`;
//! [`job::with_causes`] writes both. The library logs through the `log` crate and
//! prints nothing but a command's output; the exceptions are a panic where no
//! logger is at work, and the last words of a keeper whose owner was killed.
//! Build it with `panic = "unwind"`.

#![warn(rustdoc::broken_intra_doc_links)]

#[cfg(panic = "abort")]
compile_error!("towpath catches panics to keep their evidence: build it with panic = \"unwind\"");

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

#[cfg(any(feature = "docker", feature = "http"))]
pub mod client;
pub mod clock;
#[cfg(feature = "docker")]
pub mod docker;
#[cfg(feature = "redis")]
pub mod expiry;
pub mod flow;
#[cfg(feature = "form")]
pub mod form;
#[cfg(feature = "http")]
pub mod http;
#[cfg(all(feature = "form", feature = "http"))]
pub mod inbox;
pub mod job;
#[cfg(feature = "http")]
pub mod live;
pub mod lock;
pub mod pipe;
pub mod process;
pub mod store;
pub mod thread;
