//! Floor 11: wiring, reload, command line.
