//! The contenders, and what is done to them.

use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{CONTENDERS, KEY, Torture};
use crate::support::dice::Dice;
use crate::support::example;
use crate::support::process::Process;

pub(super) struct Cast<'a> {
    torture: &'a Torture,
    /// Each with the moment when it is to go on, if it was frozen.
    running: Vec<(Child, Option<Instant>)>,
    started: usize,
    dice: Dice,
}

impl<'a> Cast<'a> {
    pub(super) fn start(torture: &'a Torture) -> Cast<'a> {
        let mut cast = Cast { torture, running: Vec::new(), started: 0, dice: Dice::new(torture.seed) };
        for at in 0..CONTENDERS {
            let contender = cast.contender(at);
            cast.running.push((contender, None));
        }
        cast
    }

    /// Kills and freezes one after the other, the one that holds the lock more
    /// often than others; at the end all go on.
    pub(super) fn harry(&mut self, end: Instant) {
        while Instant::now() < end {
            std::thread::sleep(self.dice.time(Duration::from_millis(100), Duration::from_millis(700)));
            self.thaw(Instant::now());
            let holder = self.torture.resource.last_writer().and_then(|writer| writer.parse().ok());
            let (any, of_all) = (self.dice.below(CONTENDERS), self.dice.below(2) == 0);
            let victim = if of_all { any } else { holder.unwrap_or(any) };
            if self.running[victim].1.is_some() {
                // It shall find out that it comes late.
            } else if self.dice.below(4) == 0 {
                self.kill(victim);
                self.running[victim] = (self.contender(victim), None);
            } else {
                process(&self.running[victim].0).send(Signal::STOP);
                let time = self.dice.time(Duration::from_millis(20), self.torture.ttl * 2);
                self.running[victim].1 = Some(Instant::now() + time);
            }
        }
        self.thaw(end + self.torture.ttl * 2);
    }

    fn thaw(&mut self, now: Instant) {
        for (contender, until) in &mut self.running {
            if until.take_if(|until| *until <= now).is_some() {
                process(contender).send(Signal::CONT);
            }
        }
    }

    fn kill(&mut self, at: usize) {
        let contender = &mut self.running[at].0;
        contender.kill().unwrap();
        contender.wait().unwrap();
    }

    fn contender(&mut self, at: usize) -> Child {
        let Torture { scene, resource, store, ttl, seed } = self.torture;
        self.started += 1;
        let (name, log) = (at.to_string(), scene.name(&format!("{:04}.turns", self.started)));
        let mut command = scene.program(example("torture_contender"));
        command.args([store, KEY, &resource.path(), &name, &log]);
        command.args([ttl.as_millis().to_string(), (seed + self.started as u64).to_string()]);
        command.spawn().unwrap()
    }
}

impl Drop for Cast<'_> {
    fn drop(&mut self) {
        for (contender, _) in &mut self.running {
            // It may have ended by itself.
            let _ = contender.kill();
            let _ = contender.wait();
        }
    }
}

fn process(child: &Child) -> Process {
    Process::of(i32::try_from(child.id()).unwrap())
}
