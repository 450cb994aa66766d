//! Supervised threads: stop, panic capture with context, the two classes, signals.
