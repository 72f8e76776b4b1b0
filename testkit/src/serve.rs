//! What the servers share: how they start, listen and end.

#[cfg(feature = "hyper")]
use std::net::{TcpListener, TcpStream};
#[cfg(all(feature = "hyper", target_os = "linux"))]
use std::time::Duration;
use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    process::{ExitCode, Termination},
};

use async_drain::Report;
#[cfg(feature = "hyper")]
use async_drain::{
    Drain, Shutdown,
    net::{Accept, Group, IntoAccept},
    signal,
};
#[cfg(all(feature = "hyper", target_os = "linux"))]
use async_drain::{net::Shared, systemd};
#[cfg(feature = "hyper")]
use smol::{Async, Timer};

#[cfg(feature = "hyper")]
use crate::settings::Settings;

/// Runs a server: its report is the last of stderr, and an error before it could serve is exit
/// status 2.
pub fn run(example: impl FnOnce() -> Result<Report, Box<dyn Error>>) -> ExitCode {
    match example() {
        Ok(report) => report.report(),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns the shutdown of these settings, which signals start and systemd is told of.
///
/// Call it first of all: a signal that comes before ends the process.
#[cfg(feature = "hyper")]
pub fn shutdown(settings: &Settings, drain: &Drain) -> io::Result<Shutdown> {
    let shutdown = Shutdown::new(drain)
        .on(signal::termination()?)
        .lame_duck(settings.lame_duck)
        .grace(settings.grace)
        .abort_grace(settings.abort_grace);
    #[cfg(target_os = "linux")]
    let shutdown = shutdown.on_progress(Duration::from_millis(200), systemd::notify());
    if !settings.warm_up.is_zero() {
        let warming_up = drain.readiness().hold("warming up");
        let warm_up = Timer::after(settings.warm_up);
        smol::spawn(async move {
            warm_up.await;
            drop(warming_up);
        })
        .detach();
    }
    Ok(shutdown)
}

/// Binds a listener, or takes over that of `LISTEN_FDS` or `INHERIT_FD`; also returns its address.
#[cfg(feature = "hyper")]
pub fn listen(
    settings: &Settings,
) -> Result<
    (
        impl Accept<Conn = Async<TcpStream>> + Unpin + use<>,
        SocketAddr,
    ),
    Box<dyn Error>,
> {
    #[cfg(target_os = "linux")]
    if let Some(Shared(listener)) = systemd::listeners()?.tcp()? {
        let addr = listener.local_addr()?;
        return Ok((Shared(listener).into_accept()?, addr));
    }
    if settings.reuse_port {
        let listener = member(settings.addr).map_err(cannot_listen(settings.addr))?;
        let addr = listener.local_addr()?;
        return Ok((Group(listener).into_accept()?, addr));
    }
    let listener = match settings.inherit_fd {
        Some(fd) => inherited(fd)?,
        None => TcpListener::bind(settings.addr).map_err(cannot_listen(settings.addr))?,
    };
    let addr = listener.local_addr()?;
    #[cfg(target_os = "linux")]
    if settings.store_listener {
        return Ok((systemd::store("http", listener)?, addr));
    }
    Ok((listener.into_accept()?, addr))
}

/// Joins the group of listeners at an address, or makes one.
#[cfg(all(feature = "hyper", unix))]
pub fn member(addr: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

#[cfg(all(feature = "hyper", not(unix)))]
pub fn member(_: SocketAddr) -> io::Result<TcpListener> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Takes a listener by the number of its descriptor, without `unsafe`: the kernel is asked for a
/// descriptor of this very process.
#[cfg(all(feature = "hyper", target_os = "linux"))]
fn inherited(fd: i32) -> Result<TcpListener, String> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let taken = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|this| pidfd_getfd(this, fd, PidfdGetfdFlags::empty()));
    taken
        .map(TcpListener::from)
        .map_err(|error| format!("can't listen on descriptor {fd}: {error}"))
}

#[cfg(all(feature = "hyper", not(target_os = "linux")))]
fn inherited(fd: i32) -> Result<TcpListener, String> {
    Err(format!("can't listen on descriptor {fd}: only on Linux"))
}

/// Says what could not be listened on.
#[cfg(feature = "hyper")]
fn cannot_listen(addr: SocketAddr) -> impl Fn(io::Error) -> String {
    move |error| format!("can't listen on {addr}: {error}")
}

/// Prints the first line of stdout.
pub fn announce(addr: SocketAddr) {
    say(&format!("listening on {addr}"));
}

/// Prints a line to stdout. The server goes on if that fails.
pub fn say(line: &str) {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}
