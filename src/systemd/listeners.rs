//! The listeners that `LISTEN_FDS` names.

use std::{
    env::{self, VarError},
    fmt, io, iter,
    net::TcpListener,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
};

use async_drain_os::passed;
use socket2::{Domain, Protocol, SockRef, Type};

use crate::net::{Shared, note_passed};

/// Takes the listeners that systemd, or another supervisor, has passed to this process.
///
/// There are none if the variables `LISTEN_FDS` and `LISTEN_PID` are not set or are meant for
/// another process, e.g. a parent of this one. The descriptors keep their numbers; child processes
/// don't inherit them. The environment stays as it is.
///
/// Only the first call gets them. Call it at the start of the program.
///
/// ```
/// use std::net::TcpListener;
///
/// use async_drain::{Drain, net::IntoAccept, systemd};
///
/// # fn main() -> std::io::Result<()> {
/// // The socket that systemd listens on, or one of our own if it was not systemd that started us.
/// let listener = match systemd::listeners()?.tcp()? {
///     Some(listener) => listener.into_accept()?,
///     None => TcpListener::bind("127.0.0.1:0")?.into_accept()?,
/// };
/// let drain = Drain::new();
/// let incoming = drain.accept(listener);
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// If a variable is malformed, if a descriptor that it names is not open, or if the descriptors
/// have been taken already. All descriptors stay as they are then.
pub fn listeners() -> io::Result<Listeners> {
    let count = passed::descriptors()?.len();
    let names = match env::var("LISTEN_FDNAMES") {
        // There are none, or they are another process's.
        _ if count == 0 => Vec::new(),
        Ok(names) => names_of(&names, count)?,
        Err(VarError::NotPresent) => Vec::new(),
        Err(VarError::NotUnicode(_)) => {
            return Err(invalid("LISTEN_FDNAMES is not valid unicode".into()));
        }
    };
    let fds = passed::take()?;
    note_passed(&fds);
    // As sd_listen_fds_with_names(3) calls those without a name.
    let names = (names.into_iter()).chain(iter::repeat_with(|| "unknown".to_owned()));
    Ok(Listeners::new(fds.into_iter().zip(names)))
}

/// Returns the name of each of `count` descriptors.
fn names_of(names: &str, count: usize) -> io::Result<Vec<String>> {
    let names: Vec<_> = names.split(':').map(str::to_owned).collect();
    if names.len() == count {
        return Ok(names);
    }
    Err(invalid(format!(
        "LISTEN_FDNAMES has {} names, but LISTEN_FDS is {count}",
        names.len()
    )))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// The listeners that a supervisor has passed to this process: see [`listeners`].
///
/// Each method takes one out. Those that are left when this is dropped are closed in this process,
/// and stay open in the supervisor.
///
/// All listeners are [`Shared`]: when draining begins, connections in their queues are left to the
/// next process that gets the listener.
#[must_use = "the listeners are closed if they are not taken out"]
pub struct Listeners(Vec<Passed>);

/// One descriptor that has not been taken out.
struct Passed {
    fd: OwnedFd,
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    Unix,
    /// Neither; what it is instead.
    Other(&'static str),
}

impl Listeners {
    fn new(passed: impl Iterator<Item = (OwnedFd, String)>) -> Self {
        let passed = passed.map(|(fd, name)| {
            let kind = Kind::of(&fd);
            Passed { fd, name, kind }
        });
        Self(passed.collect())
    }

    /// Takes the next TCP listener, in the order of the supervisor; `None` if there is none left.
    ///
    /// # Errors
    ///
    /// If all that is left is not a listener, e.g. because the socket unit says `Accept=yes` or
    /// `ListenDatagram=`.
    pub fn tcp(&mut self) -> io::Result<Option<Shared<TcpListener>>> {
        self.take(Kind::Tcp, None)
    }

    /// Takes the next TCP listener of this name, which is the `FileDescriptorName=` of its socket
    /// unit, or by default the name of the unit, e.g. `example.socket`; `None` if nothing left has
    /// this name.
    ///
    /// # Errors
    ///
    /// If all that is left of this name is something else.
    pub fn tcp_named(&mut self, name: &str) -> io::Result<Option<Shared<TcpListener>>> {
        self.take(Kind::Tcp, Some(name))
    }

    /// Takes the next Unix listener, as [`tcp`](Self::tcp) does.
    ///
    /// # Errors
    ///
    /// As [`tcp`](Self::tcp).
    pub fn unix(&mut self) -> io::Result<Option<Shared<UnixListener>>> {
        self.take(Kind::Unix, None)
    }

    /// Takes the next Unix listener of this name, as [`tcp_named`](Self::tcp_named) does.
    ///
    /// # Errors
    ///
    /// As [`tcp_named`](Self::tcp_named).
    pub fn unix_named(&mut self, name: &str) -> io::Result<Option<Shared<UnixListener>>> {
        self.take(Kind::Unix, Some(name))
    }

    /// Takes the next descriptor of this name, whatever it is, e.g. a UDP socket or a file that the
    /// service has stored.
    pub fn descriptor(&mut self, name: &str) -> Option<OwnedFd> {
        let place = self.0.iter().position(|passed| passed.name == name)?;
        Some(self.0.remove(place).fd)
    }

    fn take<L: From<OwnedFd>>(
        &mut self,
        kind: Kind,
        name: Option<&str>,
    ) -> io::Result<Option<Shared<L>>> {
        let place = self
            .0
            .iter()
            .position(|passed| passed.kind == kind && name.is_none_or(|name| passed.name == name));
        if let Some(place) = place {
            return Ok(Some(Shared(L::from(self.0.remove(place).fd))));
        }
        let problem = match name {
            Some(name) => self.0.iter().find(|passed| passed.name == name),
            // A listener of the other kind may be taken out later.
            None if self.0.iter().any(|passed| passed.kind.is_listener()) => None,
            None => self.0.first(),
        };
        problem.map_or(Ok(None), |passed| Err(passed.is_not(kind)))
    }
}

impl Passed {
    fn is_not(&self, kind: Kind) -> io::Error {
        let (fd, name, is) = (self.fd.as_raw_fd(), &self.name, self.kind);
        invalid(format!(
            "descriptor {fd} ('{name}') of LISTEN_FDS is {is}, and not {kind}"
        ))
    }
}

impl Kind {
    fn of(fd: &OwnedFd) -> Self {
        let socket = SockRef::from(fd);
        let Ok(domain) = socket.domain() else {
            return Self::Other("not a socket");
        };
        if socket.r#type().ok() != Some(Type::STREAM) {
            return Self::Other("not a stream socket");
        }
        if !socket.is_listener().unwrap_or(false) {
            return Self::Other("a connection (the socket unit needs Accept=no)");
        }
        let tcp = [Some(Protocol::TCP), Some(Protocol::MPTCP)];
        match domain {
            Domain::UNIX => Self::Unix,
            Domain::IPV4 | Domain::IPV6 if tcp.contains(&socket.protocol().ok().flatten()) => {
                Self::Tcp
            }
            _ => Self::Other("a listener of another protocol"),
        }
    }

    fn is_listener(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "a TCP listener",
            Self::Unix => "a Unix listener",
            Self::Other(what) => what,
        })
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.0.iter().map(|passed| (&passed.name, passed.kind));
        f.debug_map().entries(passed).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        net::{TcpListener, TcpStream, UdpSocket},
        os::{
            fd::{AsRawFd, OwnedFd},
            linux::net::SocketAddrExt,
            unix::net::{SocketAddr, UnixDatagram, UnixListener},
        },
    };

    use super::{Listeners, names_of};
    use crate::{
        Drain,
        net::{Accept, IntoAccept, Queue},
    };

    fn tcp() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    fn unix(name: &str) -> UnixListener {
        let name = format!("{name}.{}", std::process::id());
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
    }

    fn passed<const N: usize>(passed: [(OwnedFd, &str); N]) -> Listeners {
        Listeners::new(passed.into_iter().map(|(fd, name)| (fd, name.to_owned())))
    }

    /// Z1: a listener that was passed on is left to its next holder, queue and all.
    #[test]
    fn listeners_are_shared_by_type() {
        let mut listeners = passed([(tcp().into(), "tcp"), (unix("shared").into(), "unix")]);
        let mut tcp = listeners.tcp().unwrap().unwrap().into_accept().unwrap();
        assert_eq!(tcp.retire(), Queue::Shared);
        let mut unix = listeners.unix().unwrap().unwrap().into_accept().unwrap();
        assert_eq!(unix.retire(), Queue::Shared);
        // Both forms of a program have one type.
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        for listener in [tcp, own.into_accept().unwrap()] {
            drop(Drain::new().accept(listener));
        }
    }

    #[test]
    fn listeners_are_taken_by_name_and_in_order() {
        let (public, also_public, admin) = (tcp(), tcp(), unix("admin"));
        let expected = [public.as_raw_fd(), also_public.as_raw_fd()];
        let mut listeners = passed([
            (admin.into(), "admin"),
            (public.into(), "public"),
            (also_public.into(), "public"),
        ]);
        assert!(listeners.tcp_named("private").unwrap().is_none());
        for expected in expected {
            let taken = listeners.tcp_named("public").unwrap().unwrap();
            assert_eq!(taken.0.as_raw_fd(), expected);
        }
        assert!(listeners.tcp_named("public").unwrap().is_none());
        assert!(listeners.tcp().unwrap().is_none());
        assert!(listeners.unix_named("admin").unwrap().is_some());
        assert!(listeners.unix().unwrap().is_none());
    }

    #[test]
    fn what_is_not_a_listener_is_an_error_that_says_what_it_is() {
        let listener = tcp();
        let conn = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for (fd, is) in [
            (File::open("/dev/null").unwrap().into(), "not a socket"),
            (
                conn.into(),
                "a connection (the socket unit needs Accept=no)",
            ),
            (
                UdpSocket::bind("127.0.0.1:0").unwrap().into(),
                "not a stream socket",
            ),
            (
                UnixDatagram::unbound().unwrap().into(),
                "not a stream socket",
            ),
        ] {
            let mut listeners = passed([(fd, "http")]);
            for error in [
                listeners.tcp().unwrap_err(),
                listeners.tcp_named("http").unwrap_err(),
            ] {
                let error = error.to_string();
                assert!(
                    error.contains(&format!("('http') of LISTEN_FDS is {is}")),
                    "{error}"
                );
            }
            // It is still there, for code that knows what to do with it.
            assert!(listeners.descriptor("http").is_some());
            assert!(listeners.tcp().unwrap().is_none());
        }
    }

    #[test]
    fn a_listener_of_the_wrong_kind_is_an_error_if_it_was_asked_for_by_name() {
        let mut listeners = passed([(unix("wrong").into(), "http")]);
        assert!(listeners.tcp().unwrap().is_none());
        let error = listeners.tcp_named("http").unwrap_err().to_string();
        assert!(
            error.ends_with("is a Unix listener, and not a TCP listener"),
            "{error}"
        );
        assert!(listeners.unix_named("http").unwrap().is_some());
    }

    /// A malformed variable is an error, unless it is meant for another process.
    #[test]
    fn variables_that_say_nonsense_neither_end_the_program_nor_exhaust_its_memory() {
        const NAME: &str = "systemd::listeners::tests::\
            variables_that_say_nonsense_neither_end_the_program_nor_exhaust_its_memory";
        if let Ok(expected) = std::env::var("EXPECTED") {
            let said = super::listeners().map_or_else(|error| error.to_string(), |_| "none".into());
            assert!(said.contains(&expected), "{said}");
            return;
        }
        for (variables, expected) in [
            ("LISTEN_PID=$$ LISTEN_FDS=2147483640", "is not open"),
            (
                "LISTEN_PID=1 LISTEN_FDS=2147483640 LISTEN_FDNAMES=$(printf '\\377')",
                "none",
            ),
        ] {
            let command =
                format!("ulimit -v 4000000; export {variables}; exec \"$0\" --exact {NAME}");
            let output = std::process::Command::new("sh")
                .args(["-c", &command])
                .arg(std::env::current_exe().unwrap())
                .env("EXPECTED", expected)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("1 passed"),
                "{text}"
            );
        }
    }

    #[test]
    fn each_descriptor_has_a_name() {
        assert_eq!(names_of("http:admin", 2).unwrap(), ["http", "admin"]);
        let error = names_of("http", 2).unwrap_err().to_string();
        assert_eq!(error, "LISTEN_FDNAMES has 1 names, but LISTEN_FDS is 2");
    }
}
