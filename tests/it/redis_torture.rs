//! What a lease promises, while contenders are killed and frozen and servers
//! come and go: on a quorum no two valid leases at a time; on a Cluster only
//! where a failover lost writes; and everywhere fences by which a resource
//! refuses who comes late.
//!
//! Some seconds long, minutes with `TOWPATH_TEST_LONG=1`. What happens is drawn
//! by a seed, which a failure tells and `TOWPATH_TEST_SEED` sets; when it
//! happens is the machine's.

mod cast;
mod resource;
mod turns;

use std::time::{Duration, Instant};

use towpath::clock::Moment;
use towpath::lock::{Acquired, Locks, Request};
use towpath::store::Key;
use towpath::thread::Stop;

use self::cast::Cast;
use self::resource::Resource;
use self::turns::{Turn, overlaps, turns};
use crate::support::dice::Dice;
use crate::support::groups::long;
use crate::support::redis::{Cluster, Quorum, Redis, Settings};
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::until;

const KEY: &str = "leader";
const CONTENDERS: usize = 8;
/// So many leases at least there must have been, some of them when all is well again.
const FEWEST_TURNS: usize = 20;

/// One torture: where it happens, and what decides its course.
struct Torture {
    /// Ends before its place does.
    resource: Resource,
    scene: Scene,
    store: String,
    ttl: Duration,
    seed: u64,
}

/// When servers were away.
type Outage = (Moment, Moment);

impl Torture {
    fn of(store: String, ttl: Duration) -> Torture {
        let scene = Scene::new();
        let resource = Resource::at(&scene.path("resource"));
        let chosen = std::env::var("TOWPATH_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = chosen.unwrap_or_else(|| Moment::now().since_boot_ns());
        eprintln!("TOWPATH_TEST_SEED={seed}"); // shown if the test fails
        Torture { resource, scene, store, ttl, seed }
    }

    /// Tortures contenders, and servers by `servers`, which draws one outage,
    /// waits for its end, and tells when it was.
    fn go(&self, mut servers: impl FnMut(&mut Dice) -> Outage + Send) -> (Vec<Turn>, Vec<Outage>) {
        let end = Instant::now() + Duration::from_secs(if long() { 180 } else { 10 });
        let mut cast = Cast::start(self);
        let mut outages = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut dice = Dice::new(self.seed + 1);
                while Instant::now() < end {
                    outages.push(servers(&mut dice));
                }
            });
            cast.harry(end);
        });
        self.go_on_and_refuse_the_late();
        drop(cast);
        (turns(self.scene.dir()), outages)
    }

    /// When all is well again others have their turn; and a holder of before is refused.
    fn go_on_and_refuse_the_late(&self) {
        let locks = Locks::open(&self.store.parse().unwrap()).unwrap();
        let request = Request::new(Key::new(KEY).unwrap()).ttl(self.ttl);
        let mut fence = 0;
        until("a lease of our own", || match locks.acquire(&request, Duration::from_secs(5), &Stop::never()) {
            Ok(Acquired::Lease(lease)) => {
                fence = lease.fence();
                let first = self.resource.write(fence, "the test");
                lease.abandon();
                first
            }
            _ => false,
        });
        until("another's turn", || self.resource.highest() > fence);
        until("turns", || self.resource.turns() >= FEWEST_TURNS);
        assert!(!self.resource.write(fence, "the test"), "it was taken from one who came late");
    }

    /// What holds whatever the servers lose.
    fn check_fences(&self, turns: &[Turn]) {
        let said = self.resource.report();
        assert!(said.shared.is_empty(), "a fence of two leases: {:?}", said.shared);
        assert!(said.stale > 0 && said.taken >= FEWEST_TURNS, "{} taken, {} stale", said.taken, said.stale);
        for early in turns {
            for late in turns.iter().filter(|late| late.asked > early.from) {
                assert!(late.fence > early.fence, "asked for later, and no larger fence: {early:?}, {late:?}");
            }
        }
        let lasted = turns.iter().filter(|turn| turn.until > turn.from).count();
        eprintln!("{} turns ({lasted} valid), {} writes taken, {} stale", turns.len(), said.taken, said.stale);
    }
}

/// Nodes of a quorum, one or two at a time, are killed or frozen for a while.
fn quorum_outage(nodes: &[Redis], killed_for: (Duration, Duration), frozen_for: Duration, dice: &mut Dice) -> Outage {
    std::thread::sleep(dice.time(Duration::from_millis(100), Duration::from_millis(900))); // when all is well
    let (first, count) = (dice.below(3), 1 + usize::from(dice.below(5) == 0));
    let victims: Vec<_> = (first..first + count).map(|at| &nodes[at % 3]).collect();
    let began = Moment::now();
    if dice.below(2) == 0 {
        victims.iter().for_each(|node| node.stop());
        std::thread::sleep(dice.time(Duration::from_millis(50), frozen_for));
        victims.iter().for_each(|node| node.go_on());
    } else {
        victims.iter().for_each(|node| node.kill());
        std::thread::sleep(dice.time(killed_for.0, killed_for.1));
        victims.iter().for_each(|node| node.restart());
    }
    (began, Moment::now())
}

fn torture_a_quorum(settings: Settings, killed_for: (Duration, Duration)) {
    let quorum = Quorum::with(3, settings);
    let torture = Torture::of(quorum.url(), TTL);
    let (turns, _) = torture.go(|dice| quorum_outage(quorum.nodes(), killed_for, TTL * 3 / 2, dice));
    torture.check_fences(&turns);
    let overlaps = overlaps(&turns);
    assert!(overlaps.is_empty(), "{} times two leases were valid: {overlaps:#?}", overlaps.len());
    let deposed: Vec<_> = turns.iter().filter(|turn| turn.refused_while_valid).collect();
    assert!(deposed.is_empty(), "refused although their lease was valid: {deposed:#?}");
}

/// On a quorum. Nobody waits for a node longer than a tenth of it.
const TTL: Duration = Duration::from_secs(2);

#[test]
fn on_a_quorum_that_writes_everything_down_no_two_leases_are_valid_at_a_time() {
    if skipped("redis") {
        return;
    }
    torture_a_quorum(Settings::new().persistent(), (Duration::ZERO, TTL));
}

#[test]
fn on_a_quorum_whose_nodes_come_back_empty_but_late_no_two_leases_are_valid_at_a_time() {
    if skipped("redis") {
        return;
    }
    torture_a_quorum(Settings::new(), (TTL + Duration::from_millis(50), TTL * 3 / 2));
}

/// In a Cluster, where a failover takes about four seconds.
const CLUSTER_TTL: Duration = Duration::from_secs(3);

/// How long after an outage the servers may still be about to lose what they had.
const AFTERMATH: Duration = Duration::from_secs(12);

#[test]
fn on_a_cluster_leases_overlap_only_where_servers_lost_them_and_late_fences_are_refused() {
    if skipped("redis") {
        return;
    }
    let cluster = Cluster::start();
    let torture = Torture::of(cluster.url(), CLUSTER_TTL);
    let (turns, outages) = torture.go(|dice| {
        std::thread::sleep(dice.time(Duration::from_millis(500), Duration::from_secs(2))); // when all is well
        let any = dice.below(cluster.nodes().len());
        let victim = if dice.below(3) > 0 { cluster.master_of(KEY) } else { &cluster.nodes()[any] };
        let began = Moment::now();
        if dice.below(2) == 0 {
            victim.stop();
            std::thread::sleep(dice.time(Duration::from_millis(50), Duration::from_secs(5)));
            victim.go_on();
        } else {
            victim.kill();
            std::thread::sleep(dice.time(Duration::ZERO, Duration::from_secs(5)));
            victim.restart();
        }
        cluster.wait_ok();
        (began, Moment::now())
    });
    torture.check_fences(&turns);
    for (early, late) in overlaps(&turns) {
        let explains = |(began, ended): &Outage| *began <= late.from && late.from <= *ended + AFTERMATH;
        assert!(outages.iter().any(explains), "no server was away: {early:?}, {late:?}, {outages:?}");
    }
}
