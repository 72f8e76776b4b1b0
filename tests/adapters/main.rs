//! The thin adapters, one file each, and the executors.

mod executors;
mod log;
mod swansong;
mod tower;
