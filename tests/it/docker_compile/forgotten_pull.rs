//! The pull is begun, and its progress is nobody's business.
#![deny(unused_must_use)]

use towpath::docker::Docker;

fn main() {
    let docker = Docker::from_environment().unwrap();
    docker.pull(&"busybox:1".parse().unwrap()).unwrap();
}
