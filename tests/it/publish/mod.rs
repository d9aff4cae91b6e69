//! The publisher against a real broker: a real journal in front of it, no HTTP.

mod faults;
mod order;
mod poison;
mod topology;
mod world;
