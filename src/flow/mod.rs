//! Lines: split and filter.
