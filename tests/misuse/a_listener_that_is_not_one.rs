//! A UDP socket is not a listener.
//~ connections can't be accepted from `UdpSocket`
//~ use a TCP or Unix listener of std, async-io or smol

use async_drain::Drain;

fn main() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let _incoming = Drain::new().accept(socket);
}
