//! What a reader of a relay asks of Redis: reads alone.

use std::time::Duration;

use redis::{RedisResult, Value};

use super::super::record::Run;
use super::doubt_for;
use super::entry::Fields;
use super::keys::Keys;
use crate::store::{Error, Servers};

/// How long a read waits for the next entry before it is looked whether the writer lives.
const BLOCK: Duration = Duration::from_millis(500);

/// How long a question may take in all, that wait included.
const WITHIN: Duration = Duration::from_secs(3);

/// The run that is followed.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) run: Run,
    pub(super) sources: Vec<String>,
    pub(super) fence: String,
    pub(super) stream: String,
    pub(super) doubt: Duration,
}

/// What the store says of the last run.
pub(super) struct Look {
    pub(super) begun: Option<Begun>,
    pub(super) is_alive: bool,
}

/// One lock's relay, as it is read.
#[derive(Debug)]
pub(super) struct Questions {
    servers: Servers,
    keys: Keys,
}

impl Questions {
    pub(super) fn new(servers: Servers, keys: Keys) -> Questions {
        Questions { servers, keys }
    }

    /// The store, without its secrets.
    pub(super) fn name(&self) -> &str {
        self.servers.name()
    }

    /// Which run is the last one, and whether its writer lives.
    pub(super) fn look(&mut self) -> Result<Look, Error> {
        let keys = &self.keys;
        let (last, alive): (Vec<Option<String>>, Option<String>) =
            self.servers.ask(keys.last.as_bytes(), WITHIN, |connection| {
                let last = redis::cmd("HMGET").arg(&keys.last).arg(&["fence", "run", "stream"]).query(connection)?;
                Ok((last, redis::cmd("GET").arg(&keys.alive).query(connection)?))
            })?;
        let [Some(fence), Some(run), Some(stream)] = last.as_slice() else {
            return Ok(Look { begun: None, is_alive: false });
        };
        let begun = Begun::read(fence, run, stream);
        Ok(Look { is_alive: alive.as_ref() == Some(fence), begun })
    }

    /// At most `count` entries behind this one, or none if none comes for a while.
    pub(super) fn read(&mut self, stream: &str, behind: u64, count: usize) -> Result<Vec<(u64, Fields)>, Error> {
        let (block, after) = (u64::try_from(BLOCK.as_millis()).unwrap_or(1), format!("{behind}-0"));
        self.servers.ask(self.keys.last.as_bytes(), WITHIN, |connection| {
            let mut ask = redis::cmd("XREAD");
            ask.arg("COUNT").arg(count).arg("BLOCK").arg(block).arg("STREAMS").arg(stream).arg(&after);
            let streams: Option<Vec<Vec<Value>>> = ask.query(connection)?;
            let entries = streams.and_then(|streams| streams.into_iter().next()).and_then(|mut stream| stream.pop());
            entries.map_or(Ok(Vec::new()), entries_of)
        })
    }

    /// Some entries before one, the newest first.
    pub(super) fn page(&mut self, stream: &str, before: &str, count: usize) -> Result<Vec<(u64, Fields)>, Error> {
        self.servers.ask(self.keys.last.as_bytes(), WITHIN, |connection| {
            let mut ask = redis::cmd("XREVRANGE");
            ask.arg(stream).arg(before).arg("-").arg("COUNT").arg(count);
            entries_of(ask.query(connection)?)
        })
    }
}

impl Begun {
    fn read(fence: &str, run: &str, stream: &str) -> Option<Begun> {
        let told: serde_json::Value = serde_json::from_str(run).ok()?;
        let ttl = Duration::from_millis(told.get("ttl_ms")?.as_u64()?);
        let names = told.get("sources")?.as_array()?;
        Some(Begun {
            run: Run::from_json(&told)?,
            sources: names.iter().map(|name| name.as_str().unwrap_or_default().to_owned()).collect(),
            fence: fence.to_owned(),
            stream: stream.to_owned(),
            doubt: doubt_for(ttl),
        })
    }
}

/// Entries as XREAD and XREVRANGE have them: an id `NUMBER-0`, and its fields.
fn entries_of(entries: Value) -> RedisResult<Vec<(u64, Fields)>> {
    let rows: Vec<Vec<Value>> = redis::from_redis_value(entries)?;
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        let Ok([id, fields]) = <[Value; 2]>::try_from(row) else { continue };
        let id: String = redis::from_redis_value(id)?;
        // An id of another form is no entry of ours: it is seen to be none.
        let number = id.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let mut fields = redis::from_redis_value::<Vec<Vec<u8>>>(fields)?.into_iter();
        let mut pairs = Vec::new();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            pairs.push((name, value));
        }
        read.push((number, pairs));
    }
    Ok(read)
}
