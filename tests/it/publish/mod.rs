//! The publisher with a real broker and a real journal, without HTTP.

mod faults;
mod order;
mod poison;
mod topology;
mod world;
