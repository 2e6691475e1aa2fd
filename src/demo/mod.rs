//! Floor 12: the demo world.
