//! Floor 4: delivers notifications to receivers; knows nothing of why an alert fired.
