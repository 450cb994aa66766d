//! Asking all nodes of a store at once. With one node that is a call; with
//! several, each has a thread of its own, so that a node that hangs keeps
//! nobody waiting but itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::super::Error;
use super::link::Link;
use super::names::Names;
use super::script::{Answer, Ask};
use crate::clock::Moment;
use crate::thread::{Worker, spawn};

/// How many asks may wait for a node that hangs; beyond them it counts as down.
const WAITING: usize = 8;

/// How long a node is tried to be told of a lock let go, after nobody waits for that any more.
const LATE: Duration = Duration::from_millis(200);

/// How long a renewal waits for nodes that it doesn't need: it restores the key
/// where it is gone.
const LINGER: Duration = Duration::from_millis(50);

/// The ways to all nodes of a store, for one thread's asks at a time.
#[derive(Debug)]
pub(super) enum Lane {
    One(Mutex<Link>),
    Several(Vec<Node>),
}

/// A node's thread.
#[derive(Debug)]
pub(super) struct Node {
    asks: Option<Sender<Message>>,
    worker: Option<Worker<()>>,
}

struct Message {
    ask: Ask,
    names: Arc<Names>,
    deadline: Moment,
    reply: Sender<(usize, Result<Answer, Error>)>,
    node: usize,
}

/// What the nodes answered, as far as they did: one entry a node.
pub(super) type Answers = Vec<Option<Result<Answer, Error>>>;

impl Lane {
    /// One link a node.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn new(links: Vec<Link>) -> std::io::Result<Lane> {
        let mut links = links;
        if links.len() == 1
            && let Some(link) = links.pop()
        {
            return Ok(Lane::One(Mutex::new(link)));
        }
        links.into_iter().map(Node::start).collect::<std::io::Result<_>>().map(Lane::Several)
    }

    /// Asks all nodes, and waits until `enough` says that the answers so far
    /// decide, until all have answered, or for `limit`.
    pub(super) fn ask(
        &self,
        ask: &Ask,
        names: &Arc<Names>,
        limit: Duration,
        enough: impl Fn(&Answers) -> bool,
    ) -> Answers {
        self.put(|_| Some(ask.clone()), names, [limit, Duration::ZERO], enough)
    }

    /// As [`Lane::ask`], and gives the others a little time when the answers decide.
    pub(super) fn ask_and_linger(
        &self,
        ask: &Ask,
        names: &Arc<Names>,
        limit: Duration,
        enough: impl Fn(&Answers) -> bool,
    ) -> Answers {
        self.put(|_| Some(ask.clone()), names, [limit, LINGER.min(limit)], enough)
    }

    /// Asks each node for what `ask_of` says, if anything, and waits for no answer of several.
    pub(super) fn tell(&self, ask_of: impl Fn(usize) -> Option<Ask>, names: &Arc<Names>, limit: Duration) {
        let _: Answers = self.put(ask_of, names, [limit, Duration::ZERO], |_| true);
    }

    fn put(
        &self,
        ask_of: impl Fn(usize) -> Option<Ask>,
        names: &Arc<Names>,
        [limit, linger]: [Duration; 2],
        enough: impl Fn(&Answers) -> bool,
    ) -> Answers {
        match self {
            Lane::One(link) => {
                let answer = ask_of(0).map(|ask| held(link).put(&ask, names, limit));
                vec![answer]
            }
            Lane::Several(nodes) => {
                let deadline = Moment::now() + limit;
                let (reply, replies) = bounded(nodes.len());
                let mut answers: Answers = Vec::new();
                let mut awaited = 0;
                for (at, node) in nodes.iter().enumerate() {
                    let sent = ask_of(at).map(|ask| {
                        node.send(Message { ask, names: Arc::clone(names), deadline, reply: reply.clone(), node: at })
                    });
                    awaited += usize::from(matches!(sent, Some(Ok(()))));
                    answers.push(sent.and_then(|sent| sent.err().map(Err)));
                }
                drop(reply);
                collect(&replies, &mut answers, &mut awaited, deadline, enough);
                collect(&replies, &mut answers, &mut awaited, deadline.min(Moment::now() + linger), |_| false);
                answers
            }
        }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Lane::One(_) => 1,
            Lane::Several(nodes) => nodes.len(),
        }
    }
}

fn collect(
    replies: &Receiver<(usize, Result<Answer, Error>)>,
    answers: &mut Answers,
    awaited: &mut usize,
    deadline: Moment,
    enough: impl Fn(&Answers) -> bool,
) {
    while *awaited > 0 && !enough(answers) {
        match replies.recv_timeout(deadline.remaining()) {
            Ok((node, answer)) => {
                answers[node] = Some(answer);
                *awaited -= 1;
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A link is only ever left in a state that its next user can go on from.
pub(super) fn held(link: &Mutex<Link>) -> std::sync::MutexGuard<'_, Link> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    fn start(mut link: Link) -> std::io::Result<Node> {
        let (asks, inbox) = bounded::<Message>(WAITING);
        let worker = spawn("store-node", move |_| {
            // Its end is the end of those who ask; each ask has its deadline.
            for message in inbox {
                let left = message.deadline.remaining();
                // Letting go is done late rather than never: it harms nobody.
                let left = if matches!(message.ask, Ask::GiveBack { .. }) { left.max(LATE) } else { left };
                let answer = if left.is_zero() {
                    Err(Error::unreachable("a node of the store is busy with earlier asks"))
                } else {
                    link.put(&message.ask, &message.names, left)
                };
                // Whoever asked may have had enough answers.
                let _: Result<(), _> = message.reply.send((message.node, answer));
            }
        })?;
        Ok(Node { asks: Some(asks), worker: Some(worker) })
    }

    fn send(&self, message: Message) -> Result<(), Error> {
        let Some(asks) = &self.asks else { return Err(Error::unreachable("the store is being closed")) };
        asks.try_send(message).map_err(|error| {
            Error::unreachable(match error {
                TrySendError::Full(_) => "a node of the store hangs: earlier asks still wait for it",
                TrySendError::Disconnected(_) => "the thread of a node of the store has died",
            })
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The thread ends when it has done what waits; one whose node hangs is left to its deadline.
        // Dropping its worker waits for 100 ms.
        self.asks = None;
        self.worker = None;
    }
}
