//! Hearing what happens to the keys of one server: its settings looked at, its
//! channels subscribed to, again and again until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, select};
use redis::{Connection, ErrorKind, RedisError, RedisResult, ServerErrorKind};

use super::Context;
use super::step::Step;
use crate::clock::Moment;
use crate::store::{Address, Servers};
use crate::thread::Stop;

/// How long a subscription is read before its thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(250);
/// How long a server may be silent before it is asked whether it lives, and how
/// long it may take to say so.
const QUIET: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);
/// Before a subscription that broke is made anew.
const PAUSE: Duration = Duration::from_millis(200);

/// What Redis calls that a key may have got another time to live.
const LEARN: [&str; 5] = ["expire", "rename_to", "restore", "copy_to", "move_to"];
/// And that it is gone, or stays, without having expired.
const FORGET: [&str; 5] = ["del", "rename_from", "evicted", "persist", "move_from"];

/// Keys, and when each is due.
pub(super) type Keys = Vec<(Vec<u8>, u64)>;

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// From here on all is heard; what happened before may not have been.
    Stands,
    /// From here on nothing is heard, until it stands again.
    Broken,
    /// Keys that this server may have now, and when they were due on another.
    Known(Arc<Keys>),
    /// A key has a time to live, perhaps a new one.
    Learn(Vec<u8>),
    /// A key is gone, or doesn't expire any more.
    Forget(Vec<u8>),
    /// A key has expired.
    Expired(Vec<u8>),
}

/// Listens at one server until it is told to stop.
///
/// `is_mute` is set by who sees that the server tells nothing any more.
pub(super) fn listen(
    mut servers: Servers,
    address: &Address,
    context: &Context,
    (heard, is_mute): (&Sender<Heard>, &AtomicBool),
    stop: &Stop,
) {
    let mut told = String::new();
    loop {
        is_mute.store(false, Ordering::Relaxed);
        if let Err(trouble) = subscribe(&mut servers, address, context, (heard, is_mute), stop, &mut told) {
            if !put(heard, Heard::Broken, stop) {
                return;
            }
            if trouble != told {
                context.tell(&Step::Trouble(&trouble));
                told = trouble;
            }
        }
        if stop.sleep(PAUSE).is_break() {
            return;
        }
    }
}

fn subscribe(
    servers: &mut Servers,
    address: &Address,
    context: &Context,
    (heard, is_mute): (&Sender<Heard>, &AtomicBool),
    stop: &Stop,
    told: &mut String,
) -> Result<(), String> {
    let words = |error| with_cause(&Servers::explain(address, error));
    let lost = |why: String| {
        context.is_deaf.store(true, Ordering::Relaxed);
        why
    };
    let mut connection = servers.connect(address, PATIENCE).map_err(|error| lost(with_cause(&error)))?;
    check_notifications(&mut connection, address, context)?;
    let prefix = format!("__keyevent@{}__:", servers.db());
    let mut channels: Vec<String> =
        ["expired"].iter().chain(&LEARN).chain(&FORGET).map(|event| format!("{prefix}{event}")).collect();
    channels.push(context.group.channel());
    // As a command of its own: `PubSub::subscribe` takes a refusal for a success. All
    // stand when the first is answered; the other answers are no messages.
    redis::cmd("SUBSCRIBE").arg(&channels).exec(&mut connection).map_err(|error| match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoPerm) => format!(
            "the Redis at {address} doesn't permit our user the channels {prefix}* and {}; \
             grant them: ACL SETUSER NAME '&{prefix}*' '&towpath:*'",
            context.group.channel()
        ),
        _ => words(error),
    })?;
    let mut subscription = connection.as_pubsub();
    subscription.set_read_timeout(Some(LOOK)).map_err(words)?;
    if !put(heard, Heard::Stands, stop) {
        return Ok(());
    }
    told.clear();
    context.tell(&Step::Listens(&address.to_string()));
    let mut last = Moment::now();
    loop {
        if is_mute.load(Ordering::Relaxed) {
            return Err(format!("the Redis at {address} was told to tell nothing of keys any more"));
        }
        let message = match subscription.get_message() {
            Ok(message) => message,
            Err(error) if error.is_timeout() => {
                if stop.is_set() {
                    return Ok(());
                }
                if last.elapsed() >= QUIET {
                    let alive = |error: RedisError| words(error);
                    subscription.set_read_timeout(Some(PATIENCE)).map_err(alive)?;
                    let answer: redis::Value = subscription.ping().map_err(alive)?;
                    if !is_of_subscriber(&answer) {
                        return Err(format!("the Redis at {address} has ended our subscription"));
                    }
                    subscription.set_read_timeout(Some(LOOK)).map_err(alive)?;
                    last = Moment::now();
                }
                continue;
            }
            Err(error) => return Err(lost(words(error))),
        };
        last = Moment::now();
        let Some(event) = message.get_channel_name().strip_prefix(&prefix) else {
            // Something falls due sooner than all before.
            match context.nudge.try_send(()) {
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => continue,
            }
        };
        let key = message.get_payload_bytes();
        if !context.wants(key) {
            continue;
        }
        let key = key.to_vec();
        let what = match event {
            "expired" => Heard::Expired(key),
            _ if LEARN.contains(&event) => Heard::Learn(key),
            _ => Heard::Forget(key),
        };
        if !put(heard, what, stop) {
            return Ok(());
        }
    }
}

/// Who is subscribed gets the answer to a PING as an array, anybody else as text.
fn is_of_subscriber(pong: &redis::Value) -> bool {
    matches!(pong, redis::Value::Array(_))
}

/// Waits for room; whether there was before the stop.
fn put(heard: &Sender<Heard>, what: Heard, stop: &Stop) -> bool {
    select! {
        send(heard, what) -> sent => sent.is_ok(),
        recv(stop.receiver()) -> _ => false,
    }
}

/// Looks whether the server tells of keys, and where we may, makes it.
fn check_notifications(connection: &mut Connection, address: &Address, context: &Context) -> Result<(), String> {
    let setting = |connection: &mut Connection, name: &str| -> RedisResult<String> {
        let pair: Vec<String> = redis::cmd("CONFIG").arg("GET").arg(name).query(connection)?;
        Ok(pair.into_iter().nth(1).unwrap_or_default())
    };
    // A server that doesn't let us look is believed: its keeper has set it, as hosted ones do.
    let Ok(flags) = setting(connection, "notify-keyspace-events") else { return Ok(()) };
    let evicts = setting(connection, "maxmemory-policy").is_ok_and(|policy| policy != "noeviction");
    let missing = missing_flags(&flags, evicts);
    if missing.is_empty() {
        return Ok(());
    }
    let merged = format!("{flags}{missing}");
    if context.configure {
        let set: RedisResult<()> =
            redis::cmd("CONFIG").arg("SET").arg("notify-keyspace-events").arg(&merged).exec(connection);
        return set.map_err(|error| {
            format!("the Redis at {address} doesn't let us set notify-keyspace-events to {merged}: {error}")
        });
    }
    Err(format!(
        "the Redis at {address} doesn't tell when keys expire: notify-keyspace-events is {flags:?} and lacks {missing:?}; \
         set it to {merged:?} there and on its replicas, or let --configure do it"
    ))
}

/// Which of `Exg` are missing, and of `e` where keys may be evicted: that is no expiry.
pub(super) fn missing_flags(flags: &str, evicts: bool) -> String {
    let has = |flag: char| flags.contains(flag) || (flag != 'E' && flags.contains('A'));
    let wanted = if evicts { "Exge" } else { "Exg" };
    wanted.chars().filter(|flag| !has(*flag)).collect()
}

/// An error with its cause, on one line.
pub(super) fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::missing_flags;

    #[test]
    fn flags_are_only_added_where_they_are_missing() {
        for (flags, evicts, missing) in
            [("", false, "Exg"), ("Kx", true, "Ege"), ("EA", true, ""), ("A", false, "E"), ("gxE", false, "")]
        {
            assert_eq!(missing_flags(flags, evicts), missing, "{flags}");
        }
    }
}
