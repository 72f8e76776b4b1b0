//! A stream of connections has to be wrapped.
//~ connections can't be accepted from
//~ not a listener
//~ wrap a stream of connections in `net::Connections::new(stream)`

use async_drain::Drain;
use smol::{Async, stream};
use std::{io, net::TcpStream};

fn main() {
    let stream = stream::pending::<io::Result<Async<TcpStream>>>();
    let _incoming = Drain::new().accept(stream);
}
