//! A request that is answered without the handler: the status, and why.

/// What a client is told that sent what can't be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) why: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
}

impl Refusal {
    pub(super) const fn new(status: u16, why: &'static str) -> Refusal {
        Refusal { status, why, headers: &[] }
    }

    pub(super) const fn bad(why: &'static str) -> Refusal {
        Refusal::new(400, why)
    }
}
