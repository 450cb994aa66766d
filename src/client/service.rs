//! One server, by socket, TCP or TLS, and what is asked of it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ureq::http;

use super::agent::{self, Body, Error};
use super::bare::{self, Back, Bare};
use super::{Identity, Trust, unix};

/// How long a connection to the server, and sending it a request, may each take.
const CONNECT: Duration = Duration::from_secs(10);
/// What one read of an answer may bring, in bytes: a pipe's worth.
const BUFFER_BYTE: usize = 64 * 1024;

/// Where a [`Service`] is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A Unix socket.
    Socket(PathBuf),
    /// `HOST:PORT`, unencrypted.
    Plain(String),
    /// `HOST:PORT`, encrypted: whom we trust, and who we are.
    Encrypted(String, Trust, Option<Identity>),
}

impl fmt::Display for Place {
    /// `unix:///run/x.sock` or `tcp://HOST:PORT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Socket(path) => write!(f, "unix://{}", path.display()),
            Place::Plain(host) | Place::Encrypted(host, ..) => write!(f, "tcp://{host}"),
        }
    }
}

/// One server that answers HTTP. Redirects aren't followed, no proxy is used, and
/// any status is an answer. Cloning shares its connections.
#[derive(Clone, Debug)]
pub struct Service {
    place: Place,
    config: ureq::config::Config,
    agent: ureq::Agent,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The method: `GET`.
    pub method: &'a str,
    /// Path and query: `/containers/json?all=1`.
    pub path: &'a str,
    /// Headers, each a name and a value.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body. `None` sends one of no length where the method wants one.
    pub body: Option<&'a [u8]>,
    /// How long it may take until the answer's head is there, beyond the 10 s for
    /// connecting and for sending.
    pub head_within: Duration,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    head: http::response::Parts,
    body: Body,
    tells_its_end: bool,
    cut: Cut,
}

/// Ends what is read from an answer, from another thread.
#[derive(Clone, Debug)]
pub struct Cut {
    agent: ureq::Agent,
}

impl Service {
    /// A server at this place. Nothing is sent yet.
    pub fn at(place: Place) -> Service {
        let config = ureq::Agent::config_builder()
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(CONNECT))
            .timeout_send_body(Some(CONNECT))
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .input_buffer_size(BUFFER_BYTE)
            .output_buffer_size(BUFFER_BYTE);
        let trust = match &place {
            Place::Encrypted(_, trust, identity) => &trust.clone().showing(identity.as_ref()),
            _ => &Trust::default(),
        };
        let config = agent::finish(config, trust);
        let agent = agent_for(&place, &config);
        Service { place, config, agent }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Asks, and gives the answer once its head is there; its body may take `body_within`
    /// in all. The connection is used again for what is asked next. Blocks at most for
    /// the times in the request.
    ///
    /// # Errors
    /// [`Error::Failed`]: no answer came.
    pub fn ask(&self, ask: &Ask<'_>, body_within: Duration) -> Result<Answer, Error> {
        let agent = self.agent.clone();
        let (head, body) = self.send(&agent, ask, Some(body_within))?.into_parts();
        Ok(Answer { head, body: Body::from(body), tells_its_end: true, cut: Cut { agent } })
    }

    /// The same on a connection of its own, whose reads [`Cut`] can end. The body may take
    /// as long as it likes; with `quiet`, each read brings something within that time.
    /// What isn't a success always has a limit: that of the head, if there is no other.
    ///
    /// # Errors
    /// [`Error::Failed`]: no answer came.
    pub fn open(&self, ask: &Ask<'_>, quiet: Option<Duration>) -> Result<Answer, Error> {
        let back = Back::default();
        let agent = match &self.place {
            Place::Socket(path) => bare::agent(self.config.clone(), unix::ToSocket::at(path), unix::NoNames, &back),
            Place::Plain(_) | Place::Encrypted(..) => bare::agent_by_name(self.config.clone(), &back),
        };
        let (head, body) = self.send(&agent, ask, None)?.into_parts();
        // That gives the connection back.
        drop(body);
        let quiet = if head.status.is_success() { quiet } else { quiet.or(Some(ask.head_within)) };
        let body = Bare::behind(&head, &back, quiet);
        Ok(Answer { head, tells_its_end: body.tells_its_end(), body: Body::from(body), cut: Cut { agent } })
    }

    fn send(
        &self,
        agent: &ureq::Agent,
        ask: &Ask<'_>,
        body_within: Option<Duration>,
    ) -> Result<http::Response<ureq::Body>, Error> {
        let answer = send(agent, &self.url(ask.path), ask, body_within);
        answer.map_err(|error| Error::failed(&self.place, error))
    }

    fn url(&self, path: &str) -> String {
        match &self.place {
            // The name goes into the header Host, and nowhere else.
            Place::Socket(_) => format!("http://localhost{path}"),
            Place::Plain(host) => format!("http://{host}{path}"),
            Place::Encrypted(host, ..) => format!("https://{host}{path}"),
        }
    }
}

fn agent_for(place: &Place, config: &ureq::config::Config) -> ureq::Agent {
    match place {
        Place::Socket(path) => unix::agent(config.clone(), path),
        Place::Plain(_) | Place::Encrypted(..) => config.new_agent(),
    }
}

fn send(
    agent: &ureq::Agent,
    url: &str,
    ask: &Ask<'_>,
    body_within: Option<Duration>,
) -> Result<http::Response<ureq::Body>, ureq::Error> {
    let mut request = http::Request::builder().method(ask.method).uri(url);
    for (name, value) in ask.headers {
        request = request.header(*name, *value);
    }
    let body = ask.body.or((ask.method == "POST").then_some(&[][..]));
    match body {
        Some(body) => agent.run(limited(agent, request.body(body)?, ask.head_within, body_within)),
        None => agent.run(limited(agent, request.body(())?, ask.head_within, body_within)),
    }
}

fn limited<S: ureq::AsSendBody>(
    agent: &ureq::Agent,
    request: http::Request<S>,
    head: Duration,
    body: Option<Duration>,
) -> http::Request<S> {
    let request = agent.configure_request(request);
    request.timeout_recv_response(Some(head)).timeout_recv_body(body).build()
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// A header's value, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// Whether the body's own end can be told from that of a connection that broke.
    pub fn tells_its_end(&self) -> bool {
        self.tells_its_end
    }

    /// What ends the reading of this answer, if [`Service::open`] brought it.
    pub fn cut(&self) -> Cut {
        self.cut.clone()
    }

    /// The body. To drop it before its end closes the connection.
    pub fn into_body(self) -> Body {
        self.body
    }
}

impl Cut {
    /// Ends the reading: who waits for more gets an error or the end at once.
    pub fn now(&self) {
        self.agent.clone().shutdown();
    }
}

impl Place {
    /// Whether nobody but the server and this host's root can read what is sent:
    /// it is encrypted, or doesn't leave the host.
    pub fn is_private(&self) -> bool {
        match self {
            Place::Socket(_) | Place::Encrypted(..) => true,
            Place::Plain(host) => super::target::is_loopback(host),
        }
    }
}
