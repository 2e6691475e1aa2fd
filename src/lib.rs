#![doc = include_str!("ARCHITECTURE.md")]

// The floors, lowest first: a module imports only from floors below its own.
pub mod base;

pub mod telemetry;

pub mod model;

pub mod wire;

pub mod journal;
pub mod notify;
pub mod store;

pub mod export;
pub mod ingest;
pub mod probe;

pub mod aggregate;

pub mod alert;

pub mod api;

pub mod config;

pub mod app;

pub mod demo;
