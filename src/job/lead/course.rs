//! The course of a lead: elections, terms, and the pauses between them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, after, never, select};
use serde_json::{Value, json};
use signal_hook::consts as sig;

use super::super::audience::Audience;
use super::super::lease::{release, take_lease};
use super::super::outcome::{Outcome, Verdict, exit_code};
use super::super::run::{Under, begin};
use super::super::signals::{ends_a_run, suspend};
use super::super::spec::{Job, Once};
use super::pause::Pause;
use super::{Lead, OnExit, Step};
use crate::clock::{Moment, rfc3339};
use crate::lock::{Lease, Locks};

/// How a pause ended.
enum Paused {
    Over,
    /// The leadership was lost meanwhile.
    Lost,
    Asked(i32),
}

impl Lead {
    /// Stands by, leads, and so on, until somebody asks for the end by HUP, INT,
    /// QUIT or TERM in `signals` (the first is passed on to the command), until
    /// the command ends under [`OnExit::End`], or until the store refuses us.
    ///
    /// The outcome is that of the last term; of [`Verdict::Interrupted`] if no
    /// command ran when the end was asked for, of [`Verdict::Store`] if the store
    /// refuses us.
    pub fn run(mut self, signals: &Receiver<i32>) -> Outcome {
        let began = Moment::now();
        let described = self.described();
        let mut audience = self.audience(&described);
        if let Some(url) = audience.url() {
            self.request = self.request.clone().url(url);
        }
        let mut last = match Locks::open(&self.store) {
            Ok(locks) => self.elections(&Arc::new(locks), signals, &mut audience),
            Err(error) => self.ended(Verdict::Store(error)),
        };
        // To those who watch it is one run from its beginning.
        let (run, ran) = (described.run, began.elapsed());
        let of_term = (std::mem::replace(&mut last.run, run), std::mem::replace(&mut last.ran, ran));
        audience.tell(&mut last, exit_code::HELD);
        audience.dismiss(signals, &last);
        (last.run, last.ran) = of_term;
        last
    }

    fn elections(&mut self, locks: &Arc<Locks>, signals: &Receiver<i32>, audience: &mut Audience) -> Outcome {
        let mut pause = Pause::new();
        loop {
            (self.tell)(&Step::StandsBy);
            audience.tell_role(&standby());
            pause.begins();
            let once = Once { store: self.store.clone(), request: self.request.clone(), wait: Duration::MAX };
            match take_lease(once, Some(Arc::clone(locks)), signals) {
                Ok(lease) => {
                    pause.begins();
                    if let Some(end) = self.terms(lease, &mut pause, signals, audience) {
                        return end;
                    }
                }
                Err(verdict) => match *verdict {
                    Verdict::Store(error) if error.may_pass() => (self.tell)(&Step::Trouble(&error)),
                    verdict => return self.ended(verdict),
                },
            }
            if let Paused::Asked(signal) = self.wait(pause.next(), None, signals) {
                return self.ended(Verdict::Interrupted(signal));
            }
        }
    }

    /// Runs the command under the lease, once or again and again. `None`: stand by again.
    fn terms(
        &mut self,
        lease: Lease,
        pause: &mut Pause,
        signals: &Receiver<i32>,
        audience: &mut Audience,
    ) -> Option<Outcome> {
        let fence = lease.fence();
        (self.tell)(&Step::Leads { fence });
        audience.tell_role(&leader(fence));
        let ttl = self.store.lapses().then(|| self.request.ttl_wanted());
        let mut lease = Some(lease);
        loop {
            let under = Under { lease: &mut lease, keep: self.on_exit == OnExit::Restart };
            let mut outcome = self.job().term(under, ttl, signals, audience);
            (self.tell)(&Step::Ended(&outcome));
            let is_asked = outcome.asked_by.is_some() || matches!(outcome.verdict, Verdict::Essential { .. });
            if is_asked || (self.on_exit == OnExit::End && outcome.lost.is_none()) {
                release(lease.take(), &mut outcome);
                return Some(outcome);
            }
            let held = lease.as_ref()?;
            match self.wait(pause.next(), Some(held), signals) {
                Paused::Over => pause.begins(),
                Paused::Lost => {
                    if let Some(lease) = lease.take() {
                        lease.abandon();
                    }
                    return None;
                }
                Paused::Asked(signal) => {
                    let mut end = self.ended(Verdict::Interrupted(signal));
                    release(lease.take(), &mut end);
                    return Some(end);
                }
            }
        }
    }

    fn wait(&mut self, pause: Duration, lease: Option<&Lease>, signals: &Receiver<i32>) -> Paused {
        (self.tell)(&Step::Pauses(pause));
        let over = after(pause);
        let lost = lease.map_or_else(never, |lease| lease.lost().clone());
        loop {
            select! {
                recv(over) -> _ => return Paused::Over,
                // Also if the thread that renews died.
                recv(lost) -> _ => return Paused::Lost,
                recv(signals) -> signal => match signal {
                    Ok(sig::SIGTSTP) => suspend(),
                    Ok(signal) if ends_a_run(signal).is_break() => return Paused::Asked(signal),
                    Ok(_) => {}
                    Err(_) => return Paused::Asked(sig::SIGTERM),
                },
            }
        }
    }

    /// One term's job. It has no input: which of several terms would it be for?
    fn job(&self) -> Job {
        let mut job = Job::new(self.argv.clone()).no_stdin();
        job.kill_after = self.kill_after;
        job.log.clone_from(&self.log);
        job
    }

    /// The lead as a whole, which hasn't begun.
    fn described(&self) -> Outcome {
        let mut described = begin(&self.job());
        described.key = Some(self.request.key().as_str().to_owned());
        described
    }

    /// An end without a command.
    fn ended(&self, verdict: Verdict) -> Outcome {
        let mut end = self.described();
        if let Verdict::Interrupted(signal) = verdict {
            end.asked_by = Some(signal);
            end.interrupted = signal == sig::SIGINT;
        }
        end.verdict = verdict;
        end
    }

    #[cfg(feature = "http")]
    fn audience(&mut self, described: &Outcome) -> Audience {
        self.listen.take().map(|listen| Audience::of_lead(listen, described)).unwrap_or_default()
    }

    #[cfg(not(feature = "http"))]
    fn audience(&mut self, _described: &Outcome) -> Audience {
        Audience::default()
    }
}

fn standby() -> Value {
    json!({ "role": "standby", "since": rfc3339(SystemTime::now()) })
}

fn leader(fence: u64) -> Value {
    json!({ "role": "leader", "since": rfc3339(SystemTime::now()), "fence": fence })
}
