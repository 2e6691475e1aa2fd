//! Several subsystems together, without sockets and without sleeping: [`simulation`] on a simulated
//! clock, [`crash`] on a disk that fails.

mod simulation;
