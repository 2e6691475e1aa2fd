//! Floor 10: YAML becomes each module's Config; every problem at once.
