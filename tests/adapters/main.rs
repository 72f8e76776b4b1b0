//! The thin adapters, one file each, and the executors.

mod executors;
mod graces;
mod log;
mod swansong;
mod tower;
