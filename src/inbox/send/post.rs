//! All files in one form.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::ask::{ANSWER_BYTES, Failure, Line, file_error, since};
use super::error::SendError;
use super::outflow::{Beside, Outflow, Outgoing};
use super::reply::{self, FileReply};
use super::shipment::ShippedFile;
use crate::client::{Load, Reply, Target};
use crate::clock::Moment;
use crate::form::{Body, Content, Form};
use crate::inbox::Sha;
use crate::inbox::digest::Hashing;

type Files = Vec<Result<ShippedFile, SendError>>;

/// Sends the form until there is an answer that counts.
pub(super) fn all(line: &mut Line<'_>) -> Result<Files, SendError> {
    let begun = Moment::now();
    let mut target = line.shipment.target.clone();
    loop {
        let sending = Sending::begin(line)?;
        let failure = |spent| Failure { target: &target, what: None, idempotent: false, spent };
        let Sent { asked, hashing, spent, is_whole, lengths } = sending.ask(line, &target)?;
        let mut answer = match asked {
            Ok(answer) => answer,
            Err(error) => {
                line.unanswered(error, failure(spent))?;
                continue;
            }
        };
        if (300..400).contains(&answer.status()) {
            target = line.redirected(&answer, &target, spent.is_some())?;
            continue;
        }
        let text = answer.text(ANSWER_BYTES);
        let ours = if is_whole { hashes(hashing)? } else { Vec::new() };
        if answer.is_success() && !is_whole {
            let what = format!("it answered {} before it had everything", answer.status());
            return Err(SendError::Garbled { target: target.to_string(), what });
        }
        if let Some(replies) = reply::files(&answer, &text) {
            let sent = Told { target: &target, lengths: &lengths, ours: &ours, begun };
            return each(line, &sent, replies);
        }
        if answer.is_success() {
            let told = Told { target: &target, lengths: &lengths, ours: &ours, begun };
            return Ok((0..line.shipment.items.len()).map(|index| Ok(told.file(line, index, None, false))).collect());
        }
        line.refused(&mut again(answer, &text), &failure(spent))?;
    }
}

/// A form that is made and not yet sent.
struct Sending {
    body: Outgoing<Body>,
    length: Option<u64>,
    content_type: String,
    hashing: Option<Hashing>,
    index: Arc<AtomicUsize>,
    lengths: Vec<Option<u64>>,
    /// How far each was read.
    passed: Vec<Arc<AtomicU64>>,
}

/// What came of it.
struct Sent {
    asked: Result<Reply, crate::client::Error>,
    hashing: Option<Hashing>,
    spent: Option<String>,
    is_whole: bool,
    lengths: Vec<u64>,
}

impl Sending {
    fn begin(line: &Line<'_>) -> Result<Sending, SendError> {
        let shipment = line.shipment;
        let hashing = shipment.verify.then(Hashing::start).transpose().map_err(SendError::Hash)?;
        let unsendable = |error: std::io::Error| SendError::Unsendable(Box::new(error));
        let mut form = Form::new().map_err(unsendable)?;
        for (name, value) in &shipment.fields {
            form = form.text(name, value.as_str()).map_err(unsendable)?;
        }
        let index = Arc::new(AtomicUsize::new(0));
        let (mut lengths, mut passed) = (Vec::new(), Vec::new());
        for (own_index, item) in shipment.items.iter().enumerate() {
            let length = item.length().map_err(|source| SendError::File { what: item.described(), source })?;
            let lane = hashing.as_ref().map(Hashing::lane);
            let beside =
                Beside { meter: line.meter.clone(), lane, index: index.clone(), own_index, passed: Arc::default() };
            passed.push(beside.passed.clone());
            let mut content = Content::stream(Outflow::new(item, beside)).file_name(item.name.as_str());
            if let Some(content_type) = &shipment.content_type {
                content = content.content_type(content_type.as_str());
            }
            if let Some(length) = length {
                content = content.length(length);
            }
            form = form.part(&shipment.field, content).map_err(unsendable)?;
            lengths.push(length);
        }
        let (length, content_type) = (form.content_length(), form.content_type());
        line.meter.begin(0, lengths.iter().copied().sum::<Option<u64>>());
        let body = Outgoing::new(form.into_reader().map_err(unsendable)?, shipment.buffer_bytes);
        Ok(Sending { body, length, content_type, hashing, index, lengths, passed })
    }

    /// Makes the request. The error is a file's.
    fn ask(mut self, line: &Line<'_>, target: &Target) -> Result<Sent, SendError> {
        let mut headers = line.headers(self.length);
        headers.push(("Content-Type".to_owned(), self.content_type));
        let failed = self.body.failed();
        let load = match self.length {
            Some(length) => Load::Sized(&mut self.body, length),
            None => Load::Chunked(&mut self.body),
        };
        let asked = line.transfer.ask("POST", target, &headers, load);
        let items = &line.shipment.items;
        file_error(&failed, || {
            items.get(self.index.load(Ordering::Relaxed)).map_or(String::new(), super::Item::described)
        })?;
        // What has no length can be read once only.
        let once = self.lengths.iter().position(Option::is_none).filter(|_| self.body.has_begun());
        let spent = once.map(|index| items[index].described());
        let is_whole = self.body.is_whole(self.length);
        let lengths = self.passed.iter().map(|passed| passed.load(Ordering::Relaxed)).collect();
        Ok(Sent { asked, hashing: self.hashing, spent, is_whole, lengths })
    }
}

/// What is known of the files once there is an answer.
struct Told<'t> {
    target: &'t Target,
    lengths: &'t [u64],
    ours: &'t [Sha],
    begun: Moment,
}

impl Told<'_> {
    fn file(&self, line: &Line<'_>, index: usize, stored_as: Option<String>, is_verified: bool) -> ShippedFile {
        ShippedFile {
            name: line.shipment.items[index].name.clone(),
            stored_as,
            bytes: self.lengths.get(index).copied().unwrap_or(0),
            sha256: self.ours.get(index).copied(),
            is_verified,
            took: since(self.begun),
        }
    }
}

/// Each file's own result, as towpath's server told it.
fn each(line: &mut Line<'_>, told: &Told<'_>, replies: Vec<FileReply>) -> Result<Files, SendError> {
    let target = told.target.to_string();
    let items = &line.shipment.items;
    if replies.len() > items.len() {
        let what = format!("it told of {} files, and there are {}", replies.len(), items.len());
        return Err(SendError::Garbled { target, what });
    }
    let untold = items.len() - replies.len();
    let mut files: Files = Vec::new();
    for (index, reply) in replies.into_iter().enumerate() {
        files.push(one(line, told, index, reply));
    }
    for item in items.iter().rev().take(untold).rev() {
        files.push(Err(SendError::Garbled {
            target: target.clone(),
            what: format!("it says nothing of {}", item.name),
        }));
    }
    Ok(files)
}

fn one(line: &mut Line<'_>, told: &Told<'_>, index: usize, reply: FileReply) -> Result<ShippedFile, SendError> {
    let item = &line.shipment.items[index];
    let target = told.target.to_string();
    let ours = told.ours.get(index).copied();
    match reply {
        FileReply::Stored { name, size, sha256 } => {
            let sent = told.lengths.get(index).copied();
            if let (Some(ours), Some(theirs)) = (ours, sha256)
                && ours != theirs
            {
                return Err(SendError::Mismatch { target, what: item.described(), ours, theirs });
            }
            let knows = item.length().is_ok_and(|length| length.is_some());
            if let (Some(size), Some(sent), true) = (size, sent, knows)
                && size != sent
            {
                let what = format!("it has {size} bytes of {}, of which {sent} were sent", item.described());
                return Err(SendError::Garbled { target, what });
            }
            let mut file = told.file(line, index, name, ours.is_some() && sha256.is_some());
            file.bytes = size.unwrap_or(file.bytes);
            Ok(file)
        }
        FileReply::Refused { status: 409, .. }
            if line.failures.total > 0 && line.has_ours(&stored_at(told.target, &item.name), ours) =>
        {
            // The answer that said so was lost.
            Ok(told.file(line, index, Some(item.name.clone()), true))
        }
        FileReply::Refused { status, error } => {
            Err(SendError::Refused { target, what: Some(item.described()), status, text: error })
        }
    }
}

/// Where towpath's server has what was sent to its `/upload`.
fn stored_at(upload: &Target, name: &str) -> Target {
    upload.resolve("files/").map_or_else(|| upload.clone(), |files| files.child(name))
}

fn hashes(hashing: Option<Hashing>) -> Result<Vec<Sha>, SendError> {
    hashing.map_or(Ok(Vec::new()), |hashing| hashing.finish().map_err(SendError::Hash))
}

/// The answer with the text that was read of it.
fn again(answer: Reply, text: &str) -> Reply {
    answer.with_text(text)
}
