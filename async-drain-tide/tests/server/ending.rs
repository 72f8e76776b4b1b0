//! Ends that are not a single SIGTERM.

use std::process::Command;

use rustix::process::Signal;

use crate::{
    example::{AT_ONCE, drained, each, last_answer, path, terminate},
    support::client::Conn,
};

/// L4 Z12: the second signal cuts what is left.
#[test]
fn the_second_signal_aborts() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/stream/1000/1000")?;
        conn.read_head()?;
        terminate(server)?;
        server.signal(Signal::TERM)?;
        assert!(conn.read_body().is_err());
        let exit = server.wait(AT_ONCE)?;
        assert_eq!(exit.status.code(), Some(1), "{exit:?}");
        assert!(exit.report.starts_with("aborted: "), "{exit:?}");
        assert!(exit.stderr.contains("GET /stream/1000/1000"), "{exit:?}");
        Ok(())
    });
}

/// Z11: a handler may begin the drain, and its own answer is the last.
#[test]
fn a_handler_begins_the_drain() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/begin")?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}

/// Z11: a handler that panics ends its own connection, and holds up nobody.
#[test]
fn a_handler_panics_while_draining() {
    each(&[], |server| {
        let mut unlucky = Conn::open(server.addr())?;
        let mut conn = Conn::open(server.addr())?;
        terminate(server)?;
        unlucky.get("/panic")?;
        assert!(unlucky.is_eof(AT_ONCE)?);
        conn.get("/")?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}

#[test]
fn a_bad_setting_is_an_error() {
    for name in ["tide", "async_h1"] {
        for (setting, value) in [("GRACE_MS", "soon"), ("ADDR", "here"), ("TLS", "1")] {
            let output = Command::new(path(name))
                .env(setting, value)
                .output()
                .expect("the example runs");
            assert_eq!(output.status.code(), Some(2), "{name} {setting}");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(error.contains(setting), "{error}");
        }
    }
}
