//! What is left after a crash: journeys through `kill -9`, campaigns of it, lost databases, failing disks, other nodes.

mod connections;
mod journey;
mod kill;
mod nodes;
mod outage;
mod set_aside;
mod storage;
