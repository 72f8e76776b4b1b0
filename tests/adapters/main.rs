//! The thin adapters, one file each, and the executors.

mod executors;
mod scene;
mod swansong;
mod tower;
