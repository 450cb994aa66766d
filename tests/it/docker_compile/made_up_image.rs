//! Somebody says that there is an image, and nobody has looked.

use towpath::docker::{ContainerSpec, Docker, LocalImage};

fn main() {
    let docker = Docker::from_environment().unwrap();
    let image = LocalImage { name: "busybox:1".into(), id: "sha256:0".into(), digests: Vec::new() };
    let _made = docker.create(&image, &ContainerSpec::new()).unwrap();
}
