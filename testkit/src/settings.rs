//! The settings of the servers, by environment variables.

use std::{
    env::{self, VarError},
    net::SocketAddr,
    time::{Duration, Instant},
};

#[cfg(feature = "hyper")]
use async_drain::hyper::Limits;
use async_drain::{Drain, Readiness};

/// See each field; a variable that is not set takes the value in parentheses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `ADDR` (127.0.0.1:0): where to listen; port 0 picks one.
    pub addr: SocketAddr,
    /// `INHERIT_FD` (none): listens on this descriptor of its own, in place of `ADDR`, and does
    /// not tell async-drain that others hold it too. `LISTEN_FDS` and `LISTEN_PID`, as systemd
    /// sets them, come first, and do tell.
    pub inherit_fd: Option<i32>,
    /// `STORE_LISTENER` (0): 1 has systemd keep the listener while the service restarts.
    pub store_listener: bool,
    /// `ABANDONED_STATUS` (1): the exit status if work was abandoned.
    pub abandoned_status: u8,
    /// `REUSEPORT` (0): 1 joins the group of listeners at `ADDR`, and tells async-drain.
    pub reuse_port: bool,
    /// `GRACE_MS` (10000)
    pub grace: Duration,
    /// `LAME_DUCK_MS` (0: none)
    pub lame_duck: Duration,
    /// `WARM_UP_MS` (0): how long the server is unready after its start.
    pub warm_up: Duration,
    /// `ABORT_GRACE_MS` (1000)
    pub abort_grace: Duration,
    /// `KEEP_ALIVE_GRACE_MS` (1000); 0 turns it off.
    pub keep_alive_grace: Duration,
    /// `FIRST_REQUEST_GRACE_MS` (5000); 0 makes it the keep-alive grace.
    pub first_request_grace: Duration,
    /// `READY` (balancer): `balancer` is unready from lame duck on, `kubernetes` from draining on.
    pub ready: Ready,
    /// `IDLE_MS`, `AGE_MS`, `AGE_GRACE_MS`, `CONNECTIONS`, `SPREAD_MS` (none): the limits of
    /// connections.
    #[cfg(feature = "hyper")]
    pub limits: Limits,
    /// `TLS` (0): 1 speaks TLS with a certificate made at start.
    pub tls: bool,
    /// `WS_CLOSE_CODE` (1001, going away); 1012 says that the service restarts, and that
    /// reconnecting is worth it.
    pub ws_close_code: u16,
}

/// What asks whether the server is ready: it decides from which phase on the server is not.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    Balancer,
    Kubernetes,
}

impl Settings {
    pub fn from_env() -> Result<Self, String> {
        let grace = millis("GRACE_MS", 10_000)?;
        if grace.is_zero() {
            return Err("GRACE_MS is 0: no request in flight could finish".into());
        }
        Ok(Self {
            addr: match var("ADDR")? {
                None => SocketAddr::from(([127, 0, 0, 1], 0)),
                Some(addr) => addr.parse().map_err(|_| {
                    format!("ADDR is '{addr}', and not an address and port like 127.0.0.1:8080")
                })?,
            },
            inherit_fd: match var("INHERIT_FD")? {
                None => None,
                Some(fd) => match fd.parse() {
                    Ok(fd @ 0..) => Some(fd),
                    _ => return Err(format!("INHERIT_FD is '{fd}', and not a descriptor")),
                },
            },
            store_listener: switch("STORE_LISTENER")?,
            abandoned_status: match var("ABANDONED_STATUS")? {
                None => 1,
                Some(status) => status.parse().map_err(|_| {
                    format!("ABANDONED_STATUS is '{status}', and not an exit status")
                })?,
            },
            reuse_port: switch("REUSEPORT")?,
            grace,
            lame_duck: millis("LAME_DUCK_MS", 0)?,
            warm_up: millis("WARM_UP_MS", 0)?,
            abort_grace: millis("ABORT_GRACE_MS", 1_000)?,
            keep_alive_grace: millis("KEEP_ALIVE_GRACE_MS", 1_000)?,
            first_request_grace: millis("FIRST_REQUEST_GRACE_MS", 5_000)?,
            ready: match var("READY")?.as_deref() {
                None | Some("balancer") => Ready::Balancer,
                Some("kubernetes") => Ready::Kubernetes,
                Some(other) => {
                    return Err(format!(
                        "READY is '{other}', and neither balancer nor kubernetes"
                    ));
                }
            },
            #[cfg(feature = "hyper")]
            limits: limits()?,
            tls: switch("TLS")?,
            ws_close_code: match var("WS_CLOSE_CODE")? {
                None => 1001,
                Some(code) => match code.parse() {
                    Ok(code @ 1000..=4999) => code,
                    _ => return Err(format!("WS_CLOSE_CODE is '{code}', and not a close code")),
                },
            },
        })
    }

    /// Returns what probes are told, in the mode that is set.
    pub fn readiness(&self, drain: &Drain) -> Readiness {
        let readiness = drain.readiness();
        match self.ready {
            Ready::Balancer => readiness,
            Ready::Kubernetes => readiness.kubernetes(),
        }
    }
}

#[cfg(feature = "hyper")]
fn limits() -> Result<Limits, String> {
    type Set = fn(Limits, Duration) -> Limits;
    let settings: [(&str, Set); 4] = [
        ("IDLE_MS", Limits::idle),
        ("AGE_MS", Limits::age),
        ("AGE_GRACE_MS", Limits::age_grace),
        ("SPREAD_MS", Limits::spread),
    ];
    let mut limits = Limits::new();
    for (name, set) in settings {
        if var(name)?.is_some() {
            limits = set(limits, millis(name, 0)?);
        }
    }
    if let Some(value) = var("CONNECTIONS")? {
        let number = value.parse();
        limits = limits.connections(
            number.map_err(|_| format!("CONNECTIONS is '{value}', and not a number"))?,
        );
    }
    Ok(limits)
}

fn var(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is not valid unicode")),
    }
}

fn switch(name: &str) -> Result<bool, String> {
    match var(name)?.as_deref() {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(format!("{name} is '{other}', and neither 0 nor 1")),
    }
}

fn millis(name: &str, default: u64) -> Result<Duration, String> {
    let Some(value) = var(name)? else {
        return Ok(Duration::from_millis(default));
    };
    let millis = value
        .parse()
        .map(Duration::from_millis)
        .map_err(|_| format!("{name} is '{value}', and not a number of milliseconds"))?;
    match Instant::now().checked_add(millis) {
        Some(_) => Ok(millis),
        None => Err(format!(
            "{name} is '{value}', and longer than the clock can count"
        )),
    }
}
