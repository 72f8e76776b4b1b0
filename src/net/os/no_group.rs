//! Systems on which no call tells a group of listeners which member gets a new connection.

use std::{convert::Infallible, io, net::SocketAddr};

use super::BorrowedSocket;

/// Never exists: [`steer`] fails on these systems.
#[derive(Debug)]
pub struct Steering(Infallible);

pub(in crate::net) fn steer(_: BorrowedSocket<'_>, _: SocketAddr) -> io::Result<Option<Steering>> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Steering {
    pub(in crate::net) fn closing(&self, _: BorrowedSocket<'_>) {
        match self.0 {}
    }

    pub(in crate::net) fn undo(&self, _: BorrowedSocket<'_>) {
        match self.0 {}
    }
}

/// Never exists: [`Substitute::of`] fails on these systems.
#[derive(Debug)]
pub struct Substitute(Infallible);

impl Substitute {
    pub(in crate::net) fn of(_: BorrowedSocket<'_>) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(in crate::net) fn join(_: BorrowedSocket<'_>, _: SocketAddr) {}
