//! Byte pipes whose end is proven.
