//! The pull is begun, its answer was "200", and that is taken for an image.

use towpath::docker::{ContainerSpec, Docker};

fn main() {
    let docker = Docker::from_environment().unwrap();
    let pull = docker.pull(&"busybox:1".parse().unwrap()).unwrap();
    docker.create(&pull, &ContainerSpec::new()).unwrap();
}
