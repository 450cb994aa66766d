//! Where shared state lives.
