//! The thin adapters, one file each, and the executors.

mod executors;
mod swansong;
mod tower;
