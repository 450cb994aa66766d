//! Leases over the stores.
