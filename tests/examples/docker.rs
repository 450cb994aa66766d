//! Docker by its API: pulls an image, runs it in the foreground and in the background,
//! lists, reads a log, stops all that it started, and makes an image of it.
//!
//! `cargo run --example docker -- IMAGE [USER]`; USER's password comes on standard input.

use std::error::Error;
use std::io::{self, Read};
use std::time::SystemTime;

use towpath::docker::show::{self, ImageColumns};
use towpath::docker::{
    CommitSpec, ContainerSpec, Credentials, Docker, Filters, ImageRef, LogsQuery, PullOptions, Stopping,
};

const LABEL: &str = "towpath.example";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let image: ImageRef = arguments.next().ok_or("missing: IMAGE")?.parse()?;
    let docker = Docker::from_environment()?;

    // A pull is a value to finish: only that gives the image that a container is made of.
    let mut options = PullOptions::default();
    if let Some(user) = arguments.next() {
        let mut password = String::new();
        io::stdin().read_to_string(&mut password)?;
        options.credentials = Some(Credentials::password(&user, password.trim_end()));
    }
    let mut pull = docker.pull_with(&image, &options)?;
    for progress in pull.by_ref() {
        let progress = progress?;
        println!("{} {}", progress.id.unwrap_or_default(), progress.status);
    }
    let local = pull.finish()?;

    // Hello world: both streams apart, and an end that is proven.
    let hello = docker.create(&local, &ContainerSpec::new().command(["echo", "hello world"]).label(LABEL, "1"))?;
    let mut running = hello.container.run()?;
    running.copy_to(&mut io::stdout(), &mut io::stderr())?;
    println!("exit code {}", running.finish()?.code);

    // In the background.
    let spec = ContainerSpec::new().command(["sh", "-c", "echo up; sleep 1000"]).label(LABEL, "1").init();
    let back = docker.create(&local, &spec)?.container;
    back.start()?;

    // ps, ps -a, images.
    let ours = Filters::new().with("label", LABEL);
    print!("{}", show::containers(&docker.containers(false, &ours)?, false, SystemTime::now()));
    let all = docker.containers(true, &ours)?;
    print!("{}", show::containers(&all, false, SystemTime::now()));
    print!("{}", show::images(&docker.images(false, &Filters::new())?, ImageColumns::default(), SystemTime::now()));

    // stop all, with a result for each; then the log of one, and an image of it.
    let names: Vec<String> = all.iter().map(|container| container.id.clone()).collect();
    docker.stop_all(&names, Stopping::default(), &mut |name, stopped| println!("{name}: {stopped:?}"));
    back.logs(&LogsQuery::default())?.copy_to(&mut io::stdout(), &mut io::stderr())?;
    let made = back.commit(&CommitSpec { message: Some("as it was".to_owned()), ..CommitSpec::default() })?;
    println!("{made}");
    for name in &names {
        docker.container(name).remove(true)?;
    }
    Ok(())
}
