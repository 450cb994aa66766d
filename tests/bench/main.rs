//! Measures towpath beside the tools that people use today: `cargo bench`, or
//! `cargo bench -- NAME...` for the comparisons whose name contains one.
//!
//! Both sides of a comparison run in turns in one run of the bench, so that
//! they share the machine's mood; what is compared is their ratio. A peer that
//! isn't installed gets a row that says so. `TOWPATH_BENCH_QUICK=1` does few
//! rounds: it shows that the bench works, its figures mean nothing.
//!
//! It asserts nothing about speed. It fails when a side that is there can't be
//! measured, so a comparison never quietly disappears.

#![allow(clippy::unwrap_used)] // a bench's way to fail, as a test's

mod compare;
#[cfg(feature = "redis")]
mod deadlines;
#[cfg(feature = "docker")]
mod docker;
#[cfg(feature = "redis")]
mod expiry;
mod fanout;
mod figure;
mod files;
mod filter;
mod hub;
#[cfg(feature = "redis")]
mod lock;
mod machine;
mod memory;
mod output;
mod programs;
mod readers;
#[cfg(all(feature = "http", feature = "redis"))]
mod relay;
mod send;
mod size;
mod start;
#[cfg(any(feature = "docker", feature = "redis"))]
mod support;
mod table;

use compare::{Comparison, Effort};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return; // A test runner asks which tests are here: none.
    }
    if let [flag, file] = &arguments[..]
        && flag == files::BARE_LOOP
    {
        return files::bare_loop(file).unwrap();
    }
    let asked_by_cargo_bench = arguments.iter().any(|argument| argument == "--bench");
    let effort = if asked_by_cargo_bench { Effort::from_environment() } else { Effort::QUICK };
    let names: Vec<_> = arguments.into_iter().filter(|argument| !argument.starts_with("--")).collect();

    let mut comparisons = Vec::new();
    comparisons.extend(start::comparisons(effort));
    comparisons.extend(memory::comparisons(effort));
    comparisons.extend(output::comparisons(effort));
    comparisons.extend(filter::comparisons(effort));
    comparisons.extend(fanout::comparisons(effort));
    comparisons.extend(files::comparisons(effort));
    comparisons.extend(send::comparisons(effort));
    #[cfg(feature = "docker")]
    comparisons.extend(docker::comparisons(effort));
    #[cfg(feature = "redis")]
    comparisons.extend(lock::comparisons(effort));
    #[cfg(all(feature = "http", feature = "redis"))]
    comparisons.extend(relay::comparisons(effort));
    #[cfg(feature = "redis")]
    {
        comparisons.extend(expiry::comparisons(effort));
        comparisons.extend(deadlines::comparisons(effort));
    }
    comparisons.extend(size::comparisons(effort));
    comparisons.retain(|comparison| comparison.is_named_by(&names));

    if comparisons.is_empty() {
        eprintln!("no comparison has a name with {}", names.join(" or "));
        std::process::exit(2);
    }
    println!("{}\n", machine::headline(effort));
    let rows: Vec<_> = comparisons.into_iter().flat_map(Comparison::rows).collect();
    print!("{}", table::print(&rows));
    let failed = rows.iter().filter(|row| row.failed).count();
    if failed > 0 {
        println!("\n{failed} rows of {} could not be measured", rows.len());
        std::process::exit(1);
    }
}
