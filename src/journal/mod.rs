//! Floor 4: the durable, replayable lanes; knows nothing of what is in a record.
